from __future__ import annotations

import pytest

from integration.store.azure_server import AzureServer
from integration.store.meddler import Meddler
from integration.store.server_conformance import ServerConformance
from sweep_sidecar.store import Creation, StoreNotCreateOnly, open_store, prove_create_only

pytestmark = pytest.mark.integration


@pytest.fixture
def server(azure_server: AzureServer) -> AzureServer:
    return azure_server


# The client hands aiohttp a blob as bytes, of which it warns; eight mebibytes are what a blob has at most.
@pytest.mark.filterwarnings("ignore:Sending a large body directly with raw bytes:ResourceWarning")
class TestAzureStore(ServerConformance):
    create_method = "PUT"

    def test_to_create_what_is_large_takes_no_other_rights_than_the_small(
        self, server: AzureServer, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in server.environment(server.url, bucket=bucket, may_delete=False).items():
            monkeypatch.setenv(name, value)
        # Larger than what the client sends as one request by default; so are the merged results of many items.
        data = bytes(65 << 20)
        store = open_store(url, deadline_s=60)
        assert store.create("merged/large.jsonl", data) is Creation.CREATED
        assert store.create("merged/large.jsonl", data[:-1] + b"1") is Creation.EXISTS
        assert [listed.size for listed in store.list("merged/")] == [len(data)]

    def test_a_store_that_forgets_the_condition_is_refused(
        self, server: AzureServer, bucket: str, meddler: Meddler, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in server.environment_unsigned(meddler.url, bucket=bucket).items():
            monkeypatch.setenv(name, value)
        meddler.forget_conditions = True
        with pytest.raises(StoreNotCreateOnly, match="let probe be created twice"):
            prove_create_only(open_store(url, deadline_s=20), key="probe", nonce="1")
