# The sidecar's image: restore, mirror, resolve and merge. Build context: the repository's root.
#
#     docker build -f images/sidecar.Dockerfile -t resumable-sweep-sidecar .
#
# BASE is any image with Python 3.11 or newer as `python3`, its venv module and CA certificates.
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
RUN python3 -m venv /opt/venv
# ENGINE=obstore adds the optional engine, by which S3 and Azure are then reached.
ARG ENGINE=
COPY requirements/sidecar.txt requirements/obstore.txt /tmp/
# Wheels only: what is installed is what the lock's hashes name, and no build script of a package runs.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /tmp/sidecar.txt ${ENGINE:+-r /tmp/$ENGINE.txt} \
    && /opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools
# The AWS client describes 430 services in 25 MiB; the store needs S3 and those that give credentials for it.
RUN find /opt/venv/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -r {} +

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
# The root file system is read-only at run time, hence the byte code made here. Safe path: nothing is imported from the
# working directory.
ARG ENGINE=
ENV SWEEP_STORE_ENGINE=${ENGINE} \
    PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY library/resumable_sweep /app/resumable_sweep
COPY sidecar/sweep_sidecar /app/sweep_sidecar
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app
WORKDIR /app
# A number, so that a kubelet can prove runAsNonRoot without reading the image's passwd file. The operator runs the
# sidecar under the experiment's own user instead wherever the pod template names one.
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-m", "sweep_sidecar"]
