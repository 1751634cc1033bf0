"""Work that lives and ends together.

A process of which one part has died must not go on as if it were whole: Kubernetes starts a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any


async def until_first_ends(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run everything until the first of it ends, cancel the rest, and raise what it raised."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in work]
    try:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(tasks)
    raise_first(finished)


async def cancel(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait for their end, however it looks."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def raise_first(finished: Collection[asyncio.Future[Any]]) -> None:
    """Raise what one of some tasks that have ended has raised, if any has."""
    for task in finished:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
