from __future__ import annotations

import pytest

from integration.store.gcs_server import Emulator
from integration.store.meddler import Meddler
from integration.store.server import Server
from integration.store.server_conformance import ServerConformance
from sweep_sidecar.store import StoreNotCreateOnly, open_store, prove_create_only

pytestmark = pytest.mark.integration


@pytest.fixture
def server(emulator: Emulator) -> Server:
    return emulator


class TestGcsStore(ServerConformance):
    create_method = "POST"

    @pytest.fixture
    def limited(self, server: Server, bucket: str, meddler: Meddler) -> dict[str, str]:
        """The emulator knows no rights: the proxy before it answers as Google does."""
        meddler.fate = lambda method, path: 403 if method == "DELETE" else None
        return server.environment(meddler.url, bucket=bucket)

    def test_a_store_that_forgets_the_condition_is_refused(self, meddler: Meddler, url: str) -> None:
        meddler.forget_conditions = True
        with pytest.raises(StoreNotCreateOnly, match="let probe be created twice"):
            prove_create_only(open_store(url, deadline_s=20), key="probe", nonce="1")
