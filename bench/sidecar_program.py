"""An experiment beside a mirror: `python -m bench.sidecar_program WHAT ARGUMENTS...` in a sweep's environment.

Prints JSON when it ends; times are of the clock that all processes of a machine share (CLOCK_MONOTONIC), in seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resumable_sweep import ResumableSweep

RESULT = {"loss": 0.125, "accuracy": 0.96875, "epochs": 12}
ITEM_S = 0.01
GROUP = 100
_CALIBRATED_S = 1.0
_BLOCK = bytes(64 << 10)


def durable(count: str, pause_s: str) -> dict[str, Any]:
    """Record so many items, wait for each until it is in the store, and pause for up to twice `pause_s` in between."""
    waited = []
    with ResumableSweep(range(int(count)), script=False, show_progress=False) as sweep:
        for item in sweep.pending:
            before = time.monotonic()
            sweep.record(item, RESULT, durable=True)
            waited.append(time.monotonic() - before)
            # Of no fixed length: it would keep step with the mirror.
            time.sleep(random.uniform(0, 2 * float(pause_s)))
    return {"waited_s": waited}


def steady(seconds: str, pause_s: str) -> dict[str, Any]:
    """Record an item each `pause_s` for so many seconds."""
    until = time.monotonic() + float(seconds)
    recorded = 0
    with ResumableSweep(itertools.count(), script=False, show_progress=False) as sweep:
        for item in sweep.pending:
            sweep.record(item, RESULT)
            recorded += 1
            if time.monotonic() >= until:
                break
            time.sleep(float(pause_s))
    return {"recorded": recorded}


def items(stop: str) -> dict[str, Any]:
    """Do items of the same work each until the file `stop` is there; return the moment when each ended."""
    work, stop_file = _work_of(ITEM_S), Path(stop)
    ended = [time.monotonic()]
    # In groups: else what the disk takes for each, another time every time, hides all the rest.
    with ResumableSweep(itertools.count(), script=False, checkpoint_every=GROUP, show_progress=False) as sweep:
        for item in sweep.pending:
            work()
            sweep.record(item, RESULT)
            ended.append(time.monotonic())
            if stop_file.exists():
                break
    return {"ended_s": ended}


def _work_of(seconds: float) -> Callable[[], None]:
    """Return what keeps a processor busy for about that long, with the same work every time."""
    before = time.perf_counter()
    times = 0
    while time.perf_counter() - before < _CALIBRATED_S:
        hashlib.sha256(_BLOCK).digest()
        times += 1
    each = max(1, round(times * seconds / _CALIBRATED_S))

    def work() -> None:
        for _ in range(each):
            hashlib.sha256(_BLOCK).digest()

    return work


_MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {"durable": durable, "steady": steady, "items": items}

if __name__ == "__main__":
    print(json.dumps(_MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
