"""A real etcd, API server and controller manager that know ResumableSweeps, and namespaces in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fire.api import KeptApi
from rig.api import Api, ApiError, wait_until
from rig.binaries import binaries
from rig.control_plane import ControlPlane, controller_manager, running
from sweep_operator.api import GROUP, PLURAL
from sweep_operator.api.crd import custom_resource_definition

_MANAGER = "kube-controller-manager"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@contextmanager
def running_cluster() -> Iterator[ControlPlane]:
    """A running control plane; start it from the main thread."""
    with ControlPlane() as server:
        _establish_definition(server.api)
        # Not before: of a definition that comes later the garbage collector hears up to half a minute later.
        manager = controller_manager(server.layout, binaries([_MANAGER])[_MANAGER])
        with running(manager, server.layout.directory):
            yield server


def _establish_definition(api: Api) -> None:
    api.create(_DEFINITIONS, custom_resource_definition())

    def is_established() -> bool:
        conditions = api.get(f"{_DEFINITIONS}/{PLURAL}.{GROUP}")["status"].get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    wait_until(is_established, what="the definition to be established", seconds=30)


def make_namespace(api: Api | KeptApi, name: str) -> None:
    """Make a namespace, and wait for the account that its pods run under."""
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def has_account() -> bool:
        try:
            api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default")
        except ApiError:
            return False
        return True

    wait_until(has_account, what=f"the account of {name}", seconds=30, every=0.05)
