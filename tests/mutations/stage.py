"""A real API server, a real operator and a player around them, on which many sweeps are changed at the same time."""

from __future__ import annotations

import itertools
import queue
import re
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fire.cluster import make_namespace, running_cluster
from fire.operator_host import OperatorHost
from fire.operator_process import OperatorProcess
from fire.player import Player
from rig.api import Api, ApiError, RigError

SWEEPS = "/apis/resumable.dev/v1alpha1"
_QUIET_SECONDS = 4.0
_QUIET_LOOKS = 10
"""So often the operator is looked at until it is at rest."""
_RENEWAL_SECONDS = 4.0
RESIDENTS = "residents"
"""The namespace of the sweeps that stay where they are, and are shown what the API server refuses."""
_PODS = "pods?labelSelector=resumable.dev%2Fsweep"
_DEFECT = re.compile(r"Traceback|a look failed|was never (retrieved|awaited)")


@dataclass
class Seen:
    """What the watch has told of one sweep; `shown` is its newest version, `versions` counts how many there were."""

    shown: dict[str, Any]
    versions: int = 1
    gone: bool = False


class Watcher:
    """Follows all sweeps in a thread of its own, so that hundreds of waits ask the API server for nothing."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seen: dict[tuple[str, str], Seen] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._follow, name="watcher", daemon=True).start()

    def seen(self, namespace: str, name: str) -> Seen | None:
        """Return what is known of a sweep, None before the watch has shown it."""
        return self._seen.get((namespace, name))

    def wait(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Return whether `condition` came to hold."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # Not all that is waited for comes with the watch.
                self._news.wait(min(left, 0.25))
        return True

    def _follow(self) -> None:
        while True:
            try:
                for event in self._api.watch(f"{SWEEPS}/resumablesweeps", seconds=3600):
                    self._take(event)
            except (ApiError, OSError):
                time.sleep(0.5)  # the API server has ended, or is about to

    def _take(self, event: dict[str, Any]) -> None:
        shown = event["object"]
        key = (shown["metadata"]["namespace"], shown["metadata"]["name"])
        with self._news:
            known = self._seen.get(key)
            if known is None:
                self._seen[key] = known = Seen(shown)
            known.shown, known.versions = shown, known.versions + 1
            known.gone = event["type"] == "DELETED"
            self._news.notify_all()


@dataclass
class Stage:
    """Where transitions are tried; `reference` is the digest of the results to which every sweep has to come.

    Items of a matrix are other items, so they have their own.
    """

    api: Api
    player: Player
    operator: OperatorProcess
    watcher: Watcher
    log: Path
    port: int
    free: queue.Queue[str]
    namespaces: int
    reference: str = ""
    reference_of_matrix: str = ""
    usual_versions: int = 0
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """Of each transition: the schedule, what came of it, and what was said."""
    residents: dict[tuple[str, str], Any] = field(default_factory=dict)
    residents_alone: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """Lend a namespace in which nobody else changes anything."""
        name = self.free.get()
        try:
            yield name
        finally:
            self.free.put(name)

    def next_name(self) -> str:
        """Return a name that no sweep has had."""
        return f"m{next(self._numbers)}"

    def looks(self) -> float:
        """Return how often the operator has looked at a sweep."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("resumable_sweep_reconciles_total")
        )

    def defects(self, *, of: str = "") -> list[str]:
        """Return what the operator's log has of defects, in lines that name `of`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line[:300] for line in lines if _DEFECT.search(line) and of in line]

    def farewell(self) -> list[str]:
        """Return what is wrong in the end: with all that has ended before its eyes, the operator must be at rest."""
        wrong = self.defects()
        if not self.operator.is_ready():
            return [*wrong, f"the operator does not answer any more: {self.operator.log()}"]
        # Retention, events and collected pods may still be on their way.
        for _ in range(_QUIET_LOOKS):
            before = self.looks()
            time.sleep(_QUIET_SECONDS)
            restless = self.looks() - before
            # What keeps a retention from working is asked anew every 15 s.
            if restless <= 2 + len(self.found) / 10:
                break
        else:
            wrong.append(f"{restless:.0f} looks within {_QUIET_SECONDS:.0f} s, though all sweeps have ended")
        for namespace in [*map(_team, range(self.namespaces)), RESIDENTS]:
            for sweep in self.api.get(f"{SWEEPS}/namespaces/{namespace}/resumablesweeps")["items"]:
                self.api.delete(f"{SWEEPS}/namespaces/{namespace}/resumablesweeps/{sweep['metadata']['name']}")
            wrong += self.player.wrong(namespace)
        gone = self.watcher.wait(lambda: not self._pods(), seconds=120)
        return wrong if gone else [*wrong, f"pods without a sweep: {self._pods()[:10]}"]

    def _pods(self) -> list[str]:
        listed = self.api.get(f"/api/v1/{_PODS}")["items"]
        return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in listed]


def _team(number: int) -> str:
    return f"team-{number}"


@contextmanager
def running(*, at_a_time: int, flaw: str = "") -> Iterator[Stage]:
    """A stage for so many transitions at a time; start it from the main thread.

    Parameters
    ----------
    flaw:
        Of `fire.flaws`: what breaks the operator.
    """
    with ExitStack() as ending:
        cluster = ending.enter_context(running_cluster())
        folder = Path(tempfile.mkdtemp(prefix="rsw-mutations-", dir="/dev/shm"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        host = ending.enter_context(OperatorHost())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = folder / "operator.log"
        operator = OperatorProcess(host, kubeconfig=cluster.kubeconfig, log=log, port=port, namespaces=(), flaw=flaw)
        operator.start()
        ending.callback(operator.kill)
        player = ending.enter_context(
            Player(cluster.kubeconfig, folder=folder, collect_after=0.1, renewal=_RENEWAL_SECONDS)
        )
        free: queue.Queue[str] = queue.Queue()
        teams = [_team(number) for number in range(at_a_time)]
        for name in (*teams, RESIDENTS):
            make_namespace(cluster.api, name)
            player.play(name)
        for name in teams:
            free.put(name)
        operator.wait_ready()
        yield Stage(
            api=cluster.api,
            player=player,
            operator=operator,
            watcher=Watcher(cluster.api),
            log=log,
            port=port,
            free=free,
            namespaces=at_a_time,
        )


__all__ = ["SWEEPS", "ApiError", "RigError", "Seen", "Stage", "Watcher", "running"]
