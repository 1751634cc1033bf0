# The operator's image. Build context: the repository's root.
#
#     docker build -f images/operator.Dockerfile -t resumable-sweep-operator .
#
# BASE is any image with Python 3.11 or newer as `python3`, its venv module and CA certificates.
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
RUN python3 -m venv /opt/venv
COPY requirements/operator.txt /tmp/operator.txt
# Wheels only: what is installed is what the lock's hashes name, and no build script of a package runs.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /tmp/operator.txt \
    && /opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
# The root file system is read-only at run time, hence the byte code made here. Safe path: nothing is imported from the
# working directory. The user has a name because kopf asks for one, and whatever number the pod gives it is in no passwd.
ENV PATH=/opt/venv/bin:$PATH \
    LOGNAME=sweep-operator \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY library/resumable_sweep /app/resumable_sweep
COPY operator/sweep_operator /app/sweep_operator
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app
WORKDIR /app
# A number, so that a kubelet can prove runAsNonRoot without reading the image's passwd file.
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-m", "sweep_operator"]
