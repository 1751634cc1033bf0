from __future__ import annotations

import asyncio
from collections import deque

from soak.held import held
from soak.operator_inside import ENTRIES, OBJECTS, TASKS, TYPES, counts
from sweep_operator.model.observed import Creation
from sweep_operator.runtime.attempts import Attempts


class Keeper:
    def __init__(self) -> None:
        self.name = "some text"
        self.flat = {"a": (1, 2, 3)}
        self.nested = {"a": {1: "x", 2: "y"}, "b": {}}
        self.sets = {"a": {1, 2}}
        self.last = deque([1, 2], maxlen=5)
        self.queue: asyncio.Queue[int] = asyncio.Queue()
        self.queue.put_nowait(1)


def test_entries_are_counted_with_those_that_they_hold() -> None:
    assert held(Keeper()) == {"flat": 1, "nested": 4, "sets": 3, "last": 2, "queue": 1}


async def test_what_a_process_holds_is_counted_wherever_it_is_kept() -> None:
    before = counts()
    hidden = [Attempts()]
    hidden[0].note("uid", 1, Creation())
    waiting = asyncio.ensure_future(asyncio.sleep(60))
    after = counts()
    waiting.cancel()
    assert after[ENTRIES]["Attempts._attempts"] == before[ENTRIES].get("Attempts._attempts", 0) + 2
    assert after[TASKS] == before[TASKS] + 1
    assert after[OBJECTS] > before[OBJECTS]
    assert after[TYPES]["builtins.dict"] > 0
