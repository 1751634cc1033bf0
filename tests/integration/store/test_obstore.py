"""The optional engine against the servers of all the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.store.azure_server import AzureServer
from integration.store.s3_server import S3Server
from integration.store.server import Server
from integration.store.server_conformance import ServerConformance

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_STORE_ENGINE", "obstore")


class TestObstoreOnS3(ServerConformance):
    create_method = "PUT"
    delete_method = "POST"  # it deletes in bulk, also one

    @pytest.fixture
    def server(self, s3_server: S3Server) -> Server:
        return s3_server

    @pytest.fixture
    def limited(self, server: S3Server, bucket: str, url: str) -> Iterator[dict[str, str]]:
        yield server.environment(server.url, bucket=bucket, may_delete=False)
        server.obey_policies(False)


class TestObstoreOnAzure(ServerConformance):
    create_method = "PUT"
    delete_method = "POST"  # it deletes in bulk, also one

    @pytest.fixture
    def server(self, azure_server: AzureServer) -> Server:
        return azure_server
