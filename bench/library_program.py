"""One measurement of the library in a process of its own: `library_program.py WHAT ARGUMENTS...`, prints JSON.

The bare loop that is compared with writes the very bytes that the library has just written, the same number of times,
to a file beside it. The two take turns every few items, so that both meet the same moments of the disk and of other
programs; what is reported are the seconds of each turn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

RESULT = {"loss": 0.125, "accuracy": 0.96875, "epochs": 12}
GROUP = 100
ITEM_S = 0.01


def record(folder: str, count: str, turn: str, every: str) -> dict[str, Any]:
    """Record `count` items, each `turn` of them in turn with the bare loop; in groups of `every`, 0 = each on disk."""
    from resumable_sweep import ResumableSweep

    number, step, group = int(count), int(turn), int(every)
    log, bare = Path(folder) / "results.jsonl", Bare(Path(folder) / "bare", group or 1)
    mine, theirs, cpu = [], [], 0.0
    with ResumableSweep(range(number), checkpoint_path=log, script=False, checkpoint_every=group or None) as sweep:
        pending = iter(sweep.pending)
        for _ in range(number // step):
            start = log.stat().st_size
            cpu_before, before = time.process_time(), time.perf_counter()
            for item in islice(pending, step):
                sweep.record(item, RESULT)
            mine.append(time.perf_counter() - before)
            cpu += time.process_time() - cpu_before
            theirs.append(sum(bare.write_what_follows(log, start)))
    return {"mine_s": mine, "bare_s": theirs, "cpu_s": cpu, "turn": step}


def load(folder: str, count: str) -> dict[str, Any]:
    """Enter a sweep of `count` items, all of them done."""
    from resumable_sweep import ResumableSweep

    peak_before = _peak_kib()
    before, cpu_before = time.perf_counter(), time.process_time()
    sweep = ResumableSweep(range(int(count)), checkpoint_path=Path(folder) / "results.jsonl", script=False)
    with sweep:
        seconds, cpu = time.perf_counter() - before, time.process_time() - cpu_before
        peak = _peak_kib()
        before = time.perf_counter()
        replayed = sum(1 for _ in sweep.results())
        replay = time.perf_counter() - before
    if replayed != int(count):
        raise RuntimeError(f"{replayed} results came back of {count}")
    return {"seconds": seconds, "cpu_s": cpu, "peak_kib": peak, "before_kib": peak_before, "replay_s": replay}


def on_items(folder: str, turns: str) -> dict[str, Any]:
    """Do items that keep the processor busy for 10 ms, a group in turn: durably, in groups, barely, unrecorded."""
    from resumable_sweep import ResumableSweep

    bare = Bare(Path(folder) / "bare", 1)
    found: dict[str, list[float]] = {"durable": [], "grouped": [], "bare": [], "nothing": []}
    logs = {name: Path(folder) / f"{name}.jsonl" for name in ("durable", "grouped")}
    items = range(int(turns) * GROUP)
    with (
        ResumableSweep(items, checkpoint_path=logs["durable"], script=False) as durable,
        ResumableSweep(items, checkpoint_path=logs["grouped"], script=False, checkpoint_every=GROUP) as grouped,
    ):
        pending = {"durable": iter(durable.pending), "grouped": iter(grouped.pending)}
        sweeps, ways = {"durable": durable, "grouped": grouped}, list(found)
        for _ in range(int(turns)):
            start = logs["durable"].stat().st_size
            # Not an item of each in turn: a write that follows on another's fsync has to wait for it.
            for way in ways:
                if way == "bare":
                    found[way] += bare.write_what_follows(logs["durable"], start, busy=True)
                    continue
                for _ in range(GROUP):
                    before = time.perf_counter()
                    if way == "nothing":
                        _keep_busy()
                    else:
                        item = next(pending[way])
                        _keep_busy()
                        sweeps[way].record(item, RESULT)
                    found[way].append(time.perf_counter() - before)
    return found


def mime(folder: str, count: str, seconds: str) -> dict[str, Any]:
    """Record up to `count` items with the published mime-engine, for `seconds` at most."""
    from mime.data.sweep_resume import ResumableSweep

    out = Path(folder) / "out"
    sweep = ResumableSweep([{"label": str(n)} for n in range(int(count))], lambda item: item["label"], str(out))
    after: dict[int, float] = {}
    before = time.perf_counter()
    for recorded, item in enumerate(sweep.pending):
        if time.perf_counter() - before >= float(seconds):
            break
        sweep.record(item, RESULT)
        after[recorded + 1] = time.perf_counter() - before
    last = max(after)
    return {"after_s": {number: after[number] for number in (1_000, 10_000, last) if number in after}}


class Bare:
    """A loop of `write` and, after each `every` of them, `fsync`: the least that keeps anything."""

    def __init__(self, path: Path, every: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._every = every
        self._written = 0

    def write_what_follows(self, log: Path, start: int, *, busy: bool = False) -> list[float]:
        """Write what stands in `log` from byte `start`, an item at a time; return the seconds that each took."""
        with log.open("rb") as file:
            file.seek(start)
            items = list(_items_of(file.read()))
        took = []
        for item in items:
            before = time.perf_counter()
            if busy:
                _keep_busy()
            os.write(self._file, item)
            self._written += 1
            if self._written % self._every == 0:
                os.fsync(self._file)
            took.append(time.perf_counter() - before)
        return took


def _items_of(text: bytes) -> Iterator[bytes]:
    """Yield what was written for each item: the line that it was handed out, and that of its result."""
    lines = text.splitlines(keepends=True)
    for started, done in zip(lines[::2], lines[1::2], strict=True):
        if not started.startswith(b'{"kind":"started"') or not done.startswith(b'{"kind":"done"'):
            raise RuntimeError("the log is not one of items handed out and recorded in turn")
        yield started + done


def _keep_busy() -> None:
    end = time.perf_counter() + ITEM_S
    while time.perf_counter() < end:
        pass


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    measure = {"record": record, "load": load, "on_items": on_items, "mime": mime}[sys.argv[1]]
    print(json.dumps(measure(*sys.argv[2:])))
