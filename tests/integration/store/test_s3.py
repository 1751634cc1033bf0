from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.store.meddler import Meddler
from integration.store.s3_server import S3Server
from integration.store.server_conformance import ServerConformance
from sweep_sidecar.store import Creation, StoreNotCreateOnly, open_store, prove_create_only

pytestmark = pytest.mark.integration


@pytest.fixture
def server(s3_server: S3Server) -> S3Server:
    return s3_server


class TestS3Store(ServerConformance):
    create_method = "PUT"

    @pytest.fixture
    def limited(self, server: S3Server, bucket: str, url: str) -> Iterator[dict[str, str]]:
        yield server.environment(server.url, bucket=bucket, may_delete=False)
        server.obey_policies(False)

    def test_a_create_that_meets_another_one_is_asked_again(self, meddler: Meddler, url: str) -> None:
        """409 says that another create of the key is under way, not that it has won; 412 says that."""
        store = open_store(url, deadline_s=20)
        meddler.strike_once("PUT", 409)
        assert store.create("log/1", b"mine") is Creation.CREATED
        assert meddler.struck == ["PUT"]

    def test_a_store_that_forgets_the_condition_is_refused(self, meddler: Meddler, url: str) -> None:
        meddler.forget_conditions = True
        with pytest.raises(StoreNotCreateOnly, match="let probe be created twice"):
            prove_create_only(open_store(url, deadline_s=20), key="probe", nonce="1")

    def test_a_store_that_does_not_know_the_condition_is_refused(self, meddler: Meddler, url: str) -> None:
        meddler.fate = lambda method, path: 501 if method == "PUT" else None
        with pytest.raises(StoreNotCreateOnly, match="does not know conditional writes"):
            prove_create_only(open_store(url, deadline_s=20), key="probe", nonce="1")
