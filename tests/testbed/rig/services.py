"""What runs beside the control plane, at the same address: DNS of the cluster, image registry, object store."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from rig.addresses import Addresses
from rig.control_plane import ControlPlaneLayout
from rig.daemons import Daemon

BINARIES = ("coredns", "registry", "fake-gcs-server", "pause")
BUCKET = "sweeps"
# The name in image references. It is no host name: containerd is told where it is, so that references stay the same
# whatever the cluster's addresses.
REGISTRY_NAME = "registry.testbed:5000"
_REGISTRY_PORT = 5000
_OBJECTS_PORT = 4443


def registry_address(addresses: Addresses) -> str:
    """HOST:PORT of the registry, for pushing; it speaks plain HTTP."""
    return f"{addresses.control_plane}:{_REGISTRY_PORT}"


def registry_url(addresses: Addresses) -> str:
    """URL of the registry."""
    return f"http://{registry_address(addresses)}"


def objects_url(addresses: Addresses) -> str:
    """Endpoint of the stand-in for Google Cloud Storage, for pods and the host alike."""
    return f"http://{addresses.control_plane}:{_OBJECTS_PORT}"


def daemons(
    addresses: Addresses, *, layout: ControlPlaneLayout, directory: Path, programs: Mapping[str, Path]
) -> list[Daemon]:
    """Write the services' configuration into ``directory`` and return what runs them."""
    here = addresses.control_plane
    (directory / "Corefile").write_text(
        f""".:53 {{
    bind {here}
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.kubeconfig}
    }}
}}
"""
    )
    registry = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": registry_address(addresses)},
    }
    (directory / "registry.json").write_text(json.dumps(registry, indent=1))
    return [
        Daemon(
            name="coredns",
            argv=[str(programs["coredns"]), "-conf", str(directory / "Corefile")],
            after=[f"{layout.server}/readyz"],
        ),
        Daemon(
            name="registry",
            argv=[str(programs["registry"]), "serve", str(directory / "registry.json")],
            env={"OTEL_TRACES_EXPORTER": "none"},
        ),
        Daemon(
            name="fake-gcs-server",
            argv=[
                str(programs["fake-gcs-server"]),
                *("-scheme", "http", "-host", here, "-port", str(_OBJECTS_PORT)),
                *("-public-host", f"{here}:{_OBJECTS_PORT}", "-external-url", objects_url(addresses)),
                *("-backend", "memory", "-log-level", "warn"),
            ],
        ),
    ]


def make_bucket(addresses: Addresses, name: str = BUCKET) -> None:
    """Make a bucket in the object store unless it is there."""
    request = urllib.request.Request(
        f"{objects_url(addresses)}/storage/v1/b?project=testbed",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
