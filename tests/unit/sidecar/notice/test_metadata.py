"""The readers against servers that speak over real HTTP, as the testbed's machines have them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumable_sweep.contract.report import NoticeKind
from rig.metadata import CLOUDS, NOTICE_SECONDS, Cloud, announce, announced
from rig.metadata import MetadataServer as Served
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.cloud import found_reader
from sweep_sidecar.notice.metadata import MetadataServer, NoReply
from sweep_sidecar.notice.watch import NoticeWatch

HARD = {"gce": NoticeKind.GCE_PREEMPTED, "ec2": NoticeKind.EC2_INTERRUPTION, "azure": NoticeKind.AZURE_PREEMPT}


class Machine:
    def __init__(self, cloud: Cloud, file: Path) -> None:
        self.file = file
        announce(file, None)
        self.server = Served(("127.0.0.1", 0), cloud=cloud, node="node-1", goes_at=lambda: announced(file))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[Cloud], Machine]]:
    made: list[Machine] = []

    def make(cloud: Cloud) -> Machine:
        made.append(Machine(cloud, tmp_path / "announced"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_cloud_is_known_by_its_server_and_heard(
    machine: Callable[[Cloud], Machine], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody answers there: a proxy for the store's sake is not for the machine's own server.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    made = machine(cloud)
    reader = found_reader(MetadataServer(made.url), clock=time.time)
    assert reader is not None
    assert reader.read() is None
    goes_at = float(int(time.time() + NOTICE_SECONDS[cloud]))
    announce(made.file, goes_at)
    found = reader.read()
    assert found is not None
    assert found.kind is HARD[cloud]
    assert found.deadline == pytest.approx(goes_at, abs=2)
    announce(made.file, None)
    assert reader.read() is None


def test_a_preemption_is_heard_while_it_is_waited_for(machine: Callable[[Cloud], Machine]) -> None:
    made = machine("gce")
    told: list[Announcement | None] = []
    changed = threading.Condition()

    def tell(what: Announcement | None) -> None:
        with changed:
            told.append(what)
            changed.notify_all()

    watch = NoticeWatch(MetadataServer(made.url), changed=tell)
    watch.start()
    try:
        with changed:
            assert changed.wait_for(lambda: told == [None], timeout=10)
        announce(made.file, time.time() + 30)
        with changed:
            assert changed.wait_for(lambda: len(told) == 2, timeout=10)
        announce(made.file, None)
        with changed:
            assert changed.wait_for(lambda: len(told) == 3, timeout=10)
    finally:
        watch.stop()
    assert [what and what.kind for what in told] == [None, NoticeKind.GCE_PREEMPTED, None]


def test_where_nobody_listens_there_is_no_reply() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NoReply, match="GET /"):
            MetadataServer(f"http://127.0.0.1:{taken.getsockname()[1]}")("/", {})


def test_who_says_nothing_is_not_waited_for_longer_than_asked() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NoReply, match="timed out"):
            MetadataServer(f"http://127.0.0.1:{silent.getsockname()[1]}")("/", {}, timeout_s=0.05)
