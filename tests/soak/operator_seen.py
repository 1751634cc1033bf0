"""An operator that is watched from outside: what it holds, what it answers, what it says in its log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rig.api import Api, wait_until
from soak import operator_inside as inside
from soak.process import DESCRIPTORS, MEMORY, THREADS, sampled

OBJECTS = "objects"
TASKS = "tasks"
ENTRIES = "entries of caches"
SERIES = "series of metrics"
WATCHER = "memories of the watch"
_CALM_S = 17.0
"""Longer than idle connections are kept."""
_SETTLED_S = 10.0
_GONE_S = 330.0
"""Longer than the operator needs to find out by itself that a sweep is gone of whose end nobody has told it."""
_NEVER_SAID = ("Traceback", "a look failed")
_LASTING = frozenset({"TokenReviewer._known", "LoopLag._late", "Resync._awaited"})
"""Kept for a time, five minutes at most, whoever is gone."""


class OperatorSeen:
    """The operator's process, and what can be seen of it."""

    def __init__(self, *, kubeconfig: Path, log: Path, api: Api) -> None:
        self.api = api
        self._log = log
        port, self._inside = _free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "RSWEEP_SIDECAR_IMAGE": "sidecar:test",
            "RSWEEP_PORT": str(port),
            "RSWEEP_REPORT_URL": self.url,
            inside.PORT: str(self._inside),
        }
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "soak.operator_inside"], env=environment, stdout=output, stderr=output
            )
        self._first: dict[str, Any] = {}

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready, what="the operator to be ready", seconds=60, clue=self._log.read_text)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator exited {self._process.returncode}: {self._log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def entries(self) -> dict[str, int]:
        """Return how many entries each cache has."""
        found: dict[str, int] = self._counts()[inside.ENTRIES]
        return found

    def left_when_calm(self, fresh: Mapping[str, int]) -> dict[str, int]:
        """Return what is still kept of what is gone, once nothing has happened for a while."""
        time.sleep(_CALM_S)
        return self.left(fresh, seconds=_SETTLED_S)

    def left(self, fresh: Mapping[str, int], *, seconds: float = _GONE_S) -> dict[str, int]:
        """Return what caches hold more than at the beginning, once they have had so long to let go of it."""
        until = time.monotonic() + seconds
        while True:
            grown = {name: count - fresh.get(name, 0) for name, count in self.entries().items()}
            left = {name: more for name, more in sorted(grown.items()) if more > 0 and not _may_last(name)}
            if not left or time.monotonic() >= until:
                return left
            time.sleep(1)

    def sampled(self, fresh: Mapping[str, int]) -> dict[str, float]:
        """Return all quantities at a moment at which there is nothing to be held."""
        if not self._is_ready():
            raise RuntimeError(f"the operator is not ready: {self._log.read_text()[-3000:]}")
        counts = self._counts()
        self._first = self._first or counts
        values = sampled(self._process.pid)
        entries = counts[inside.ENTRIES]
        return {
            MEMORY: values[MEMORY],
            DESCRIPTORS: values[DESCRIPTORS],
            THREADS: values[THREADS],
            OBJECTS: counts[inside.OBJECTS],
            TASKS: counts[inside.TASKS],
            SERIES: self._series(),
            WATCHER: sum(count for name, count in entries.items() if _is_watcher(name)),
            ENTRIES: sum(max(0, count - fresh.get(name, 0)) for name, count in entries.items() if not _may_last(name)),
        }

    def types_then_and_now(self) -> dict[str, tuple[int, int]]:
        """Return by type how many objects there were after the first wave, and how many there are."""
        now = self._counts()[inside.TYPES]
        first = self._first.get(inside.TYPES, {})
        return {name: (first.get(name, 0), count) for name, count in now.items()}

    def complaints(self) -> list[str]:
        """Return what its log says that it must never say."""
        text = self._log.read_text()
        return [f"{text.count(each)} times in the log: {each}" for each in _NEVER_SAID if each in text]

    def _series(self) -> int:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            return sum(bool(line) and not line.startswith(b"#") for line in answer.read().split(b"\n"))

    def _counts(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._inside}/", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()


def _may_last(name: str) -> bool:
    return name in _LASTING or _is_watcher(name)


def _is_watcher(name: str) -> bool:
    """Return whether that is kopf's own: it hears of no deletion that fell into an interruption."""
    return name.startswith("ResourceMemories.")


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
