"""A sweep as a user would write it, run in a process of its own by the tests; its last argument says what to do.

It prints `ran KEY` before an item is recorded and `recorded KEY` after.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

from resumable_sweep import ResumableSweep
from resumable_sweep._stopping import STOP_SIGNALS

ITEMS = [{"x": x} for x in range(int(sys.argv[2]))]


def result_of(item: dict[str, int]) -> dict[str, object]:
    return {"square": item["x"] ** 2, "text": "ä" * (item["x"] % 50)}


def say(*words: object) -> None:
    print(*words, flush=True)


def handlers() -> list[str]:
    return [getattr(handler, "__name__", str(handler)) for handler in map(signal.getsignal, STOP_SIGNALS)]


def wait_for_stop(sweep: ResumableSweep) -> None:
    deadline = time.monotonic() + 30
    while not sweep.stopping and time.monotonic() < deadline:
        time.sleep(0.002)


def main(path: str, what: str) -> None:
    with ResumableSweep(ITEMS, key=lambda item: item["x"], checkpoint_path=path) as sweep:
        say("replayed", len(sweep.completed))
        if what == "pool":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                say("signals in a worker:", *pool.apply(handlers))
            say("the pool has ended")
        if what == "fork":
            child = os.fork()
            if child == 0:
                sweep.record(ITEMS[0], result_of(ITEMS[0]))
                say("recorded", 0)
                sys.exit(0)  # unwinds through the sweep's block, which is the parent's to close
            os.waitpid(child, 0)
        for item in sweep.pending:
            say("ran", item["x"])
            if what == "wait" and item["x"] == 1:
                wait_for_stop(sweep)
            if what == "hang" and item["x"] == 1:
                while True:
                    time.sleep(60)
            sweep.record(item, result_of(item))
            say("recorded", item["x"])
            if what == "break" and item["x"] == 1:
                wait_for_stop(sweep)
                break
            if what == "last" and item is ITEMS[-1]:
                say("the last one")
                wait_for_stop(sweep)
        say("after the loop")
    say("after the block")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3])
