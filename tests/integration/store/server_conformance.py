"""What every store on a server must do when the server, the network or the client fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from integration.store.meddler import Fate, Meddler
from integration.store.server import Server
from sweep_sidecar.store import Creation, NotFound, Store, StoreError, Unreachable, open_store, prove_create_only
from unit.sidecar.store_across_processes import StoreAcrossProcesses
from unit.sidecar.store_conformance import StoreConformance

_BLOB = 8 << 20
_CREATE = """
import sys
from sweep_sidecar.store import open_store
open_store(sys.argv[1], deadline_s=60).create("blobs/x", bytes([7]) * int(sys.argv[2]))
"""
_SLACK_S = 2.0
"""For what a busy machine needs beside a deadline."""


# The clients close their connections when they are collected, at whatever moment, in another thread: not in time, where
# the server has gone meanwhile.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|function Connection):pytest.PytestUnraisableExceptionWarning"
)
class ServerConformance(StoreConformance, StoreAcrossProcesses):
    """The test file of a backend subclasses this and has a fixture `server`."""

    create_method: str
    """Method of HTTP that creates."""
    delete_method = "DELETE"

    @pytest.fixture
    def bucket(self, server: Server) -> str:
        return server.make_bucket()

    @pytest.fixture
    def url(self, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in server.environment(server.url, bucket=bucket).items():
            monkeypatch.setenv(name, value)
        return f"{server.scheme}://{bucket}/ns/sweep/run"

    @pytest.fixture
    def store(self, url: str) -> Store:
        return open_store(url, deadline_s=20)

    @pytest.fixture
    def again(self, url: str) -> Callable[[], Store]:
        return lambda: open_store(url, deadline_s=20)

    @pytest.fixture
    def meddler(self, server: Server, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meddler]:
        meddler = Meddler(server.port)
        for name, value in server.environment(meddler.url, bucket=bucket).items():
            monkeypatch.setenv(name, value)
        yield meddler
        meddler.stop()

    # What is there

    def test_lists_thousands(self, server: Server, bucket: str, url: str) -> None:
        filled = server.filled_bucket("ns/sweep/run/log/")
        store = open_store(url.replace(bucket, filled), deadline_s=60)
        expected = [f"log/{number:05d}" for number in range(server.many)]
        assert [found.key for found in store.list("log/")] == expected
        assert [found.key for found in store.list("log/", limit=1002)] == expected[:1002]
        last = expected[-100:]
        assert [found.key for found in store.list(last[0][:-2])] == last

    def test_a_folder_is_not_seen_from_its_neighbour(self, server: Server, bucket: str, store: Store) -> None:
        open_store(f"{store.url}-1").create("key", b"x")
        assert store.list("") == []

    def test_a_bucket_itself_is_a_folder(self, server: Server, bucket: str, url: str) -> None:
        whole = open_store(f"{server.scheme}://{bucket}", deadline_s=20)
        assert whole.create("a/b", b"x") is Creation.CREATED
        assert [found.key for found in whole.list("")] == ["a/b"]
        assert whole.get("a/b") == b"x"

    def test_a_bucket_that_is_not_there_is_not_an_empty_one(self, server: Server, url: str) -> None:
        store = open_store(f"{server.scheme}://no-such-bucket/run", deadline_s=10)
        calls: list[Callable[[], object]] = [
            lambda: store.list("log/"),
            lambda: store.create("log/1", b"x"),
            lambda: store.get("log/1"),
        ]
        for call in calls:
            with pytest.raises(Unreachable, match="'no-such-bucket' does not exist"):
                call()

    # What fails on the way

    def test_a_client_killed_in_mid_write_leaves_nothing_or_all(self, meddler: Meddler, url: str) -> None:
        meddler.halt_body_at = _BLOB // 2
        client = subprocess.Popen([sys.executable, "-c", _CREATE, url, str(_BLOB)], env=os.environ)
        try:
            assert meddler.halted.wait(60)
        finally:
            client.kill()
            client.wait()
        meddler.let_go()
        store = open_store(url, deadline_s=20)
        # By whatever the server has made of the half that came: a whole object or none, in a slot that is decided.
        outcome = store.create("blobs/x", b"successor")
        if outcome is Creation.CREATED:
            assert store.get("blobs/x") == b"successor"
        else:
            assert store.get("blobs/x") == bytes([7]) * _BLOB
        assert len(store.list("blobs/")) == 1

    def test_a_create_whose_reply_was_lost_is_recognised(self, meddler: Meddler, url: str) -> None:
        store = open_store(url, deadline_s=20)
        meddler.strike_once(self.create_method, Fate.LOST)
        assert store.create("log/1", b"mine") is Creation.CREATED
        assert meddler.struck == [self.create_method]
        assert store.create("log/1", b"theirs") is Creation.EXISTS
        assert store.get("log/1") == b"mine"

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.CUT])
    def test_an_answer_that_breaks_off_is_asked_for_again(self, meddler: Meddler, url: str, fate: Fate) -> None:
        store = open_store(url, deadline_s=20)
        data = os.urandom(1 << 18)
        store.create("key", data)
        meddler.strike_once("GET", fate)
        assert store.get("key") == data
        meddler.strike_once("GET", fate)
        assert [found.key for found in store.list("")] == ["key"]
        assert meddler.struck == ["GET", "GET"]

    def test_a_deletion_whose_reply_was_lost_is_done(self, meddler: Meddler, url: str) -> None:
        store = open_store(url, deadline_s=20)
        store.create("key", b"x")
        meddler.strike_once(self.delete_method, Fate.LOST)
        store.delete("key")
        assert meddler.struck == [self.delete_method]
        assert store.list("") == []

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_store_that_is_overloaded_is_asked_again(self, meddler: Meddler, url: str, status: int) -> None:
        store = open_store(url, deadline_s=20)
        calls: list[tuple[str, Callable[[], object]]] = [
            (self.create_method, lambda: store.create("key", b"x")),
            ("GET", lambda: store.get("key")),
            ("GET", lambda: store.list("")),
            (self.delete_method, lambda: store.delete("key")),
        ]
        for method, call in calls:
            meddler.strike_once(method, status)
            call()
        assert meddler.struck == [method for method, _ in calls]

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_what_may_not_be_read_is_not_taken_for_absent(self, meddler: Meddler, url: str, status: int) -> None:
        store = open_store(url, deadline_s=3)
        store.create("key", b"x")
        meddler.fate = lambda method, path: status
        for call in (lambda: store.get("key"), lambda: store.list(""), lambda: store.create("key", b"x")):
            with pytest.raises(StoreError) as caught:
                call()
            assert not isinstance(caught.value, NotFound)

    def test_a_short_outage_is_waited_out(self, meddler: Meddler, url: str) -> None:
        store = open_store(url, deadline_s=30)
        store.create("before", b"x")
        meddler.stop()
        outcome: list[Creation] = []
        caller = threading.Thread(target=lambda: outcome.append(store.create("key", b"x")))
        caller.start()
        meddler.start()
        caller.join(30)
        assert outcome == [Creation.CREATED]
        assert store.get("key") == b"x"

    @pytest.mark.parametrize("ill", ["dead", "silent", "slow"])
    def test_no_call_outlives_its_deadline(self, meddler: Meddler, url: str, ill: str) -> None:
        store = open_store(url, deadline_s=1.5)
        store.create("key", bytes(500), deadline_s=20)
        calls: list[Callable[[], object]] = [lambda: store.get("key"), lambda: store.list("")]
        if ill == "dead":
            meddler.stop()
        else:
            meddler.fate = lambda method, path: Fate.SILENT if ill == "silent" else Fate.SLOW
        if ill != "slow":
            calls += [lambda: store.create("other", b"x"), lambda: store.delete("key")]
        for call in calls:
            began = time.monotonic()
            with pytest.raises(Unreachable, match="cannot"):
                call()
            assert time.monotonic() - began < 1.5 + _SLACK_S
        with pytest.raises(Unreachable):
            store.get("key", deadline_s=0.0)

    # What the identity may, and what the server is

    @pytest.fixture
    def limited(self, server: Server, bucket: str, url: str) -> dict[str, str]:
        """Variables with which a store may do all but delete."""
        return server.environment(server.url, bucket=bucket, may_delete=False)

    def test_an_identity_that_may_not_delete_is_enough_for_all_else(
        self, url: str, limited: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in limited.items():
            monkeypatch.setenv(name, value)
        store = open_store(url, deadline_s=5)
        prove_create_only(store, key="probe", nonce="1")
        prove_create_only(store, key="probe", nonce="2")
        assert store.create("log/1", b"mine") is Creation.CREATED
        assert store.create("log/1", b"mine") is Creation.CREATED
        assert store.create("log/1", b"theirs") is Creation.EXISTS
        assert store.get("log/1", start=1) == b"ine"
        with pytest.raises(NotFound):
            store.get("log/2")
        with pytest.raises(Unreachable, match="cannot delete log/1"):
            store.delete("log/1")
        assert [found.key for found in store.list("")] == ["log/1", "probe"]
