"""How long the testbed takes to bring a cluster up and down, with everything built."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig.binaries import NAMES, binaries
from rig.cluster import Testbed
from rig.progress import say

_NODES = 4


def figures() -> list[dict[str, Any]]:
    """Bring a cluster of four nodes up, up again, lose one node, and down; seconds each. Needs Linux and root."""
    binaries(NAMES)
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        ready: list[float] = []

        def note(line: str) -> None:
            say(line)
            if "API server is ready" in line:
                ready.append(time.monotonic())

        testbed = Testbed(Path(directory) / "cluster", report=note)
        started = time.monotonic()
        try:
            up = _seconds(lambda: testbed.up(nodes=_NODES, spot=3, gpus=1))
            again = _seconds(lambda: testbed.up(nodes=_NODES, spot=3, gpus=1))
            added = _seconds(lambda: testbed.add("spot-9", gpus=1))
            killed = _seconds(lambda: testbed.reclaim("spot-9", how="kill"))
        finally:
            down = _seconds(testbed.down)
    return [
        _figure("from nothing to a ready API server", ready[0] - started, goal=10),
        _figure(f"from nothing to {_NODES} Ready nodes with their GPUs", up, goal=30),
        _figure("up again, with nothing to do", again, goal=2),
        _figure("one more node Ready", added, goal=10),
        _figure("one node killed with all its processes", killed, goal=2),
        _figure("down, with nothing left", down, goal=10),
    ]


def _seconds(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def _figure(what: str, value: float, *, goal: float) -> dict[str, Any]:
    return {"figure": what, "value": round(value, 2), "unit": "s", "peer": None, "goal": goal, "holds": value <= goal}
