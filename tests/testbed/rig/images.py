"""The project's own images: built from their Dockerfiles with buildah, on a base made of Debian packages, and pushed.

Tags are hashes of all that goes into an image, so that a reference always means the same contents and nothing is built,
pushed or pulled twice.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig import packages
from rig.binaries import cache_directory
from rig.commands import run
from rig.errors import RigError
from rig.progress import Say, say, timed
from rig.services import REGISTRY_NAME

_REPOSITORY = Path(__file__).resolve().parents[3]
_BASE_PACKAGES = ("python3-minimal", "python3-venv", "ca-certificates")
_UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A Dockerfile with an ``ARG BASE``, and the directory that its COPY lines start from."""

    name: str
    dockerfile: Path
    context: Path = _REPOSITORY


_TRIAL = _REPOSITORY / "tests" / "trial"
IMAGES: tuple[Image, ...] = (
    Image(name="operator", dockerfile=_REPOSITORY / "images" / "operator.Dockerfile"),
    Image(name="sidecar", dockerfile=_REPOSITORY / "images" / "sidecar.Dockerfile"),
    Image(name="digits", dockerfile=_REPOSITORY / "examples" / "digits" / "Dockerfile"),
    Image(name="pacer", dockerfile=_TRIAL / "pacer" / "Dockerfile"),
    *(
        Image(name=name, dockerfile=_TRIAL / "clients" / name / "Dockerfile")
        for name in ("mime", "maddening", "gmat", "shell", "folders")
    ),
)


def named(names: Iterable[str]) -> list[Image]:
    """The project's images of those names, all of them for no names; raises ``RigError`` for any other."""
    wanted = list(names) or [image.name for image in IMAGES]
    by_name = {image.name: image for image in IMAGES}
    for name in wanted:
        if name not in by_name:
            raise RigError(f"image {name!r} is none of this project's; there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


@dataclass(frozen=True)
class TaggedImage:
    """An image together with the hash of its inputs as they were at one moment."""

    image: Image
    tag: str

    @property
    def repository(self) -> str:
        """Name in the registry."""
        return f"resumable-sweep-{self.image.name}"

    @property
    def reference(self) -> str:
        """What a pod's ``image:`` field says."""
        return f"{REGISTRY_NAME}/{self.repository}:{self.tag}"

    @property
    def local(self) -> str:
        """Name in buildah's storage."""
        return f"localhost/{self.repository}:{self.tag}"


def content_hash(image: Image) -> str:
    """Hash of the Dockerfile, of the files it copies and of the base: 12 hexadecimal digits."""
    digest = hashlib.sha256(f"{_base_tag()}\n".encode())
    digest.update(image.dockerfile.read_bytes())
    for source in copied(image.dockerfile.read_text()):
        matches = sorted(image.context.glob(source.removeprefix("./").rstrip("/")))
        if not matches:
            raise RigError(f"{image.dockerfile}: COPY {source}: there is no such file in {image.context}")
        for path in [file for match in matches for file in _files(match)]:
            digest.update(f"{path.relative_to(image.context)}\n{path.stat().st_mode & 0o777}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def copied(dockerfile: str) -> list[str]:
    """Sources of the COPY lines that copy from the build context, in their order."""
    found: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0].upper() not in ("COPY", "ADD"):
            continue
        if any(word.startswith("--from=") for word in words):
            continue
        found += [word for word in words[1:] if not word.startswith("--")][:-1]
    return found


def build(images: Sequence[Image], *, report: Say = say) -> dict[str, TaggedImage]:
    """Build those images that are not there yet; return all by name."""
    packages.require_root_on_linux("building images")
    packages.install(packages.FOR_IMAGES, report=report)
    return {image.name: _build(image, report=report) for image in images}


def push(images: Sequence[Image], *, registry_address: str, report: Say = say) -> dict[str, TaggedImage]:
    """Build what is not there, and push what the registry at HOST:PORT lacks; return all by name."""
    built = build(images, report=report)
    for each in built.values():
        if _is_pushed(f"http://{registry_address}/v2/{each.repository}/manifests/{each.tag}"):
            continue
        with timed(f"pushed image {each.image.name}", report=report):
            target = f"docker://{registry_address}/{each.repository}:{each.tag}"
            _buildah("push", "--quiet", "--tls-verify=false", each.local, target)
    return built


def _build(image: Image, *, report: Say) -> TaggedImage:
    # Taken once: somebody may edit the sources meanwhile, and what is built must still be found by its name.
    tagged = TaggedImage(image, content_hash(image))
    if _is_built(tagged.local):
        return tagged
    base = _build_base(report)
    report(f"  building image {image.name}")
    with timed(f"built image {image.name}", report=report):
        _buildah(
            *("build", "--layers", "--network", "host", "--pull-never", "--build-arg", f"BASE={base}"),
            *_certificate_mount(),
            *("--file", str(image.dockerfile), "--tag", tagged.local, str(image.context)),
        )
    _forget_others(tagged)
    return tagged


def _build_base(report: Say) -> str:
    name = f"localhost/resumable-sweep-base:{_base_tag()}"
    if _is_built(name):
        return name
    report("  building the base image from Debian packages (once, about a minute)")
    with timed("built the base image", report=report):
        directory = cache_directory() / "base"
        directory.mkdir(parents=True, exist_ok=True)
        archive = directory / f"{_base_tag()}.tar"
        exclusions = [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNWANTED]
        include = f"--include={','.join(_BASE_PACKAGES)}"
        run(["mmdebstrap", "--quiet", "--variant=minbase", include, *exclusions, _release(), archive])
        container = _buildah("from", "scratch").strip()
        _buildah("add", "--quiet", container, str(archive), "/")
        _buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        _buildah("commit", "--quiet", "--rm", container, name)
        archive.unlink()
    return name


def _base_tag() -> str:
    return hashlib.sha256(f"{_release()} {_BASE_PACKAGES} {_UNWANTED}".encode()).hexdigest()[:12]


def _release() -> str:
    # The base is made with the host's own package sources, so it can only be of the host's own release.
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise RigError("/etc/os-release names no VERSION_CODENAME: the base image is made on Debian only")


def _certificate_mount() -> list[str]:
    # Where this machine trusts certificates of its own, downloads in the build must trust them too; nothing of it
    # gets into the image.
    chosen = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return ["--volume", f"{chosen}:{_CERTIFICATES}:ro"] if chosen else []


def _buildah(*arguments: str) -> str:
    storage = cache_directory() / "images"
    program = shutil.which("buildah") or "buildah"
    return run(
        [program, "--root", str(storage / "storage"), "--runroot", str(storage / "run"), *arguments],
        env={"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"},
    )


def _is_built(local: str) -> bool:
    return bool(_buildah("images", "--quiet", "--filter", f"reference={local}").strip())


def _is_pushed(manifest_url: str) -> bool:
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(manifest_url, method="HEAD", headers={"Accept": accept})
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()
    except urllib.error.HTTPError:
        return False
    except OSError as error:
        raise RigError(f"the registry does not answer at {manifest_url}: {error}; is the testbed up?") from error
    return True


def _forget_others(newest: TaggedImage) -> None:
    # Only tags: layers that the newest image shares with them stay, and so does the build's cache.
    repository = newest.local.rpartition(":")[0]
    listed = _buildah("images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={repository}")
    for name in listed.split():
        if name != newest.local:
            _buildah("rmi", name)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
