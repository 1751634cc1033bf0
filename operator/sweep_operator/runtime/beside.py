"""Long calculations beside the event loop, which goes on answering and listening meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

FROM_SHARDS = 500
"""What is calculated about a smaller sweep takes some milliseconds, and a change of threads is no gain."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def beside_the_loop(shards: int, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what `work` returns, from a thread of its own where the sweep has many shards.

    It must be a pure function of values that nobody changes: others work on while it runs.
    """
    if shards < FROM_SHARDS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
