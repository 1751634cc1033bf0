"""One control plane for all integration tests: a real etcd and API server on loopback, without nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.api import Api, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.api import GROUP, PLURAL
from sweep_operator.api.crd import custom_resource_definition


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane whose API server knows ResumableSweeps."""
    with ControlPlane(controllers=True) as running:
        establish_definition(running.api)
        yield running


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:
    """Client with the administrator's rights."""
    return control_plane.api


def establish_definition(api: Api) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(definitions, custom_resource_definition())

    def is_established() -> bool:
        conditions = api.get(f"{definitions}/{PLURAL}.{GROUP}")["status"].get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    wait_until(is_established, what="the definition to be established", seconds=30)
