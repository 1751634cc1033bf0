"""Events on their way to the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from builders import NOW, placed, sweep

from sweep_operator.kube.client import ApiError
from sweep_operator.model.plan import SweepEvent
from sweep_operator.runtime.events import MESSAGE_LENGTH, EventPoster


class SlowApi:
    """An API server of which no answer arrives before it is let go; of those that it refuses it takes none."""

    def __init__(self, *, refuses: str = "") -> None:
        self.asked: list[str] = []
        self.taken: list[Mapping[str, Any]] = []
        self.go = asyncio.Event()
        self._refuses = refuses

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(body["message"])
        await self.go.wait()
        if body["message"] == self._refuses:
            raise ApiError(403, "no")
        self.taken.append(body)
        return {}


async def poster_of(api: Any, *messages: str) -> asyncio.Task[None]:
    """Return the task that posts these messages, once it can do no more."""
    poster = EventPoster(api, clock=lambda: NOW, unique=lambda: "x")
    for message in messages:
        poster.post(sweep((placed(),)), SweepEvent(reason="Said", message=message))
    task = asyncio.ensure_future(poster.run())
    await settle()
    return task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_that_hangs_does_not_hold_up_the_next() -> None:
    api = SlowApi()
    task = await poster_of(api, *"abcdefgh")
    assert 1 < len(api.asked) < 8, "neither one by one nor all at once"
    api.go.set()
    await settle()
    task.cancel()
    assert sorted(body["message"] for body in api.taken) == list("abcdefgh")


async def test_one_that_is_refused_does_not_keep_the_others_back() -> None:
    api = SlowApi(refuses="a")
    api.go.set()
    task = await poster_of(api, "a", *"bcdefgh")
    assert not task.done()
    task.cancel()
    assert sorted(body["message"] for body in api.taken) == list("bcdefgh")


async def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    api = SlowApi()
    api.go.set()
    task = await poster_of(api, "m" * 5000)
    task.cancel()
    assert [len(body["message"]) for body in api.taken] == [MESSAGE_LENGTH]
