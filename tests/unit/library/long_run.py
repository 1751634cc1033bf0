"""A long run under a guard: `long_run.py <checkpoint> <what>`. It says what it does, line by line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from resumable_sweep._checkpointer import Checkpointer
from resumable_sweep._preempt import PreemptGuard
from resumable_sweep._state import load_state

STEPS = 6
path, what = Path(sys.argv[1]), sys.argv[2]


def say(text: str) -> None:
    print(text, flush=True)


def steps_done() -> int:
    loaded = load_state(path)
    return 0 if loaded is None else int(loaded.extra["step"])


done = steps_done()
say(f"from {done}")
checkpointer = Checkpointer(path, every_steps=100)


def save() -> None:
    say("saving")
    if what == "long-save":
        sys.stdin.readline()  # a signal comes in the middle of it
    checkpointer.save(f"state {done}".encode(), {"step": done})


notice = path.with_name("notice.json") if "notice" in what else None
grace = 0.2 if what == "grace" else None
with PreemptGuard(save, grace=grace, notice_file=notice) as guard:
    while done < STEPS:
        say(f"step {done}")
        if done == 2 and what != "run":
            sys.stdin.readline()  # until the test has done its part
            if what == "grace":
                time.sleep(60)
        if done == 2 and what == "raise":
            raise ValueError("in the middle of a step")
        done += 1
        if what == "leave" and guard.stopping:
            break
        if what != "leave":
            guard.check()
say("after the block")
