"""A sweep by `run` in a process of its own; its one argument is what `started_run.started` was given, as JSON.

It prints `imported PID` in a worker process, `ran KEY PID` when an item begins and `returned JSON` with what `run`
returned.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from resumable_sweep import run


def say(*words: object) -> None:
    # In one call: several processes write to the same pipe.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def result_of(item: dict[str, int], seed: int) -> dict[str, object]:
    return {"square": item["x"] ** 2, "seed": seed, "text": "ä" * (item["x"] % 50)}


def wait_for_file(path: str) -> None:
    while path and not Path(path).exists():
        time.sleep(0.002)


def work(item: dict[str, int], *, seed: int, wait_for: str, hang: int | None) -> dict[str, object]:
    say("ran", item["x"], os.getpid())
    wait_for_file(wait_for)
    while item["x"] == hang:
        time.sleep(60)
    return result_of(item, seed)


async def work_async(item: dict[str, int], *, seed: int, wait_for: str, hang: int | None) -> dict[str, object]:
    say("ran", item["x"], os.getpid())
    await asyncio.to_thread(wait_for_file, wait_for)
    if item["x"] == hang:
        await asyncio.Event().wait()
    return result_of(item, seed)


def main(given: dict[str, Any]) -> None:
    fn = functools.partial(
        work_async if given["mode"] == "tasks" else work, wait_for=given["wait_for"], hang=given["hang"]
    )
    returned = run(
        fn,
        [{"x": x} for x in range(given["items"])],
        key=lambda item: item["x"],
        workers=given["workers"],
        mode=None if given["mode"] == "tasks" else given["mode"],
        pass_seed=True,
        **given["parameters"],
    )
    say("returned", json.dumps(returned))


if __name__ == "__mp_main__":  # in a worker process
    say("imported", os.getpid())
    wait_for_file(json.loads(sys.argv[1])["import_waits_for"])
if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
