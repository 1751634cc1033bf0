"""One control plane for all tests of this folder, and one player on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fire.cluster import running_cluster
from fire.operator_host import OperatorHost
from fire.player import Player
from rig.api import Api
from rig.control_plane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane whose API server knows ResumableSweeps."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:
    """Client with the administrator's rights."""
    return control_plane.api


@pytest.fixture(scope="session")
def host() -> Iterator[OperatorHost]:
    """What starts operators."""
    with OperatorHost() as running:
        yield running


@pytest.fixture
def player(control_plane: ControlPlane) -> Iterator[Player]:
    """What plays around the operator."""
    folder = Path(tempfile.mkdtemp(prefix="rsw-fire-", dir="/dev/shm"))
    try:
        with Player(control_plane.kubeconfig, folder=folder) as playing:
            yield playing
    finally:
        shutil.rmtree(folder)
