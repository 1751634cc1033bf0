from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trial.follower
from trial.cluster import Refused, wait_until
from trial.follower import Follower, Ran, Worker

STARTED = 1795372849.0
LOG = [
    b'2026-11-22T18:40:50.5Z ran "a"',
    b"2026-11-22T18:40:51Z 2 items were done before",
    b'2026-11-22T18:40:52Z ran "b"',
]


def pod_event(kind: str, phase: str, *, name: str = "pod", **spec: str) -> bytes:
    pod = {
        "metadata": {"name": name, "labels": {"index": "3"}},
        "spec": {"nodeName": "node", "containers": [{"name": "main"}], **spec},
        "status": {"phase": phase},
    }
    return json.dumps({"type": kind, "object": pod}).encode()


class Played:
    """A cluster whose log is refused at first, with what each asks for in turn."""

    def __init__(self, *refused: int) -> None:
        self.kubeconfig = Path("kubeconfig")
        self._refused = list(refused)
        self._shown = False
        self.closed = threading.Event()

    def lines(self, path: str, **_query: Any) -> Iterator[bytes]:
        if not path.endswith("/log"):
            if self._shown:
                self.closed.wait(30)
                return
            self._shown = True
            yield pod_event("ADDED", "Pending")
            yield pod_event("MODIFIED", "Succeeded")
        elif self._refused:
            raise Refused(self._refused.pop(0), "not yet")
        else:
            yield from LOG


def followed(monkeypatch: pytest.MonkeyPatch, played: Played) -> Worker:
    monkeypatch.setattr(trial.follower, "Cluster", lambda _kubeconfig: played)
    given: Any = SimpleNamespace(kubeconfig=played.kubeconfig)
    follower = Follower(given, namespace="peers", selector="job-name=one", index_label="index")
    try:
        wait_until(lambda: any(each.is_read for each in follower.workers()), what="the log", seconds=10, every=0.02)
        (worker,) = follower.workers()
        follower.take(worker.host, Ran(key='"a"', at=STARTED + 1.4))
        follower.take(worker.host, Ran(key='"c"', at=STARTED + 4))
        return worker
    finally:
        follower.close()
        played.closed.set()


@pytest.mark.parametrize("refused", [(), (404,), (400, 404, 500)])
def test_a_log_is_read_however_often_it_was_refused_before(
    monkeypatch: pytest.MonkeyPatch, refused: tuple[int, ...]
) -> None:
    worker = followed(monkeypatch, Played(*refused))
    assert (worker.index, worker.node, worker.phase) == (3, "node", "Succeeded")
    # Once each, whether its log or its results said so first.
    assert worker.ran == [
        Ran(key='"a"', at=STARTED + 1.5),
        Ran(key='"b"', at=STARTED + 3),
        Ran(key='"c"', at=STARTED + 4),
    ]


def test_results_of_a_host_belong_to_the_pod_that_had_its_name_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(*[404] * 9)
    played.closed.set()
    monkeypatch.setattr(trial.follower, "Cluster", lambda _kubeconfig: played)
    given: Any = SimpleNamespace(kubeconfig=played.kubeconfig)
    follower = Follower(given, namespace="peers", selector="job-name=one", index_label="index")
    follower.close()
    for name, at in (("job-0-a", STARTED), ("job-0-b", STARTED + 10)):
        follower._take(json.loads(pod_event("DELETED", "Failed", name=name, hostname="job-0")))
        follower.workers()[-1].created_at = at
    for key, at in (("early", STARTED + 5), ("late", STARTED + 11)):
        follower.take("job-0", Ran(key=key, at=at))
    keys = {each.pod: [ran.key for ran in each.ran] for each in follower.workers()}
    assert (keys["job-0-a"], keys["job-0-b"]) == (["early"], ["late"])
    with pytest.raises(LookupError, match="job-1"):
        follower.take("job-1", Ran(key="any", at=STARTED))
