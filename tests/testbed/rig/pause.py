"""The image that every pod's namespaces hang on: one static program, put together and pushed without any tool."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from rig.services import REGISTRY_NAME

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def reference(program: Path) -> str:
    """Image reference, with a tag that changes with the program."""
    return f"{REGISTRY_NAME}/pause:{_tag(program)}"


def push(program: Path, *, registry: str) -> None:
    """Push the image to the registry at the URL ``registry`` unless it is there."""
    tag = _tag(program)
    if _is_there(f"{registry}/v2/pause/manifests/{tag}"):
        return
    layer = _layer(program.read_bytes())
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    packed = gzip.compress(layer, mtime=0)
    for blob in (packed, config):
        _push_blob(registry, blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": _digest(packed), "size": len(packed)}],
    }
    _send("PUT", f"{registry}/v2/pause/manifests/{tag}", json.dumps(manifest).encode(), _MANIFEST)


def _layer(program: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()


def _push_blob(registry: str, blob: bytes) -> None:
    # https://github.com/opencontainers/distribution-spec: POST opens an upload, PUT to its address ends it.
    location = _send("POST", f"{registry}/v2/pause/blobs/uploads/", b"", "application/octet-stream")
    address = urllib.parse.urljoin(registry, location)
    joint = "&" if "?" in address else "?"
    _send("PUT", f"{address}{joint}digest={_digest(blob)}", blob, "application/octet-stream")


def _send(method: str, url: str, body: bytes, content_type: str) -> str:
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": content_type})
    with _opener().open(request, timeout=30) as answer:
        return str(answer.headers.get("Location", ""))


def _is_there(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": _MANIFEST})
    try:
        _opener().open(request, timeout=10).close()
    except urllib.error.HTTPError:
        return False
    return True


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _tag(program: Path) -> str:
    return hashlib.sha256(program.read_bytes()).hexdigest()[:12]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _architecture() -> str:
    import platform

    return _ARCHITECTURES.get(platform.machine(), platform.machine())
