"""Real servers of the stores' protocols, on loopback, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.store.azure_server import AzureServer
from integration.store.gcs_server import Emulator
from integration.store.s3_server import S3Server

__all__ = ["Emulator"]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("gcs"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    running = S3Server(tmp_path_factory.mktemp("s3"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    running = AzureServer(tmp_path_factory.mktemp("azure"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def bucket(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return emulator.make_bucket()
