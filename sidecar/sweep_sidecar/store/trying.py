"""One call to a store over HTTP: tried again while that may help, and ended at its deadline in any case."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fsspec.asyn import get_loop

from sweep_sidecar.store.protocol import Unreachable

_Answer = TypeVar("_Answer")

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 20
"""Timeouts of one try, so that a connection gone silent is tried anew inside the deadline."""
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of HTTP after which the same request may succeed a little later."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Again(Exception):
    """A try failed in a way that the next one may not: overload, a broken connection, a conflict that will pass."""


def tried(attempt: Callable[[], Awaitable[_Answer]], *, what: str, ends: float) -> _Answer:
    """Return what `attempt` returns; after each `Again` it is made anew, until `ends` (monotonic seconds).

    It runs in fsspec's own thread, in which the clients of all backends live: their connections belong to one event
    loop, while the caller may be any thread. Errors other than `Again` pass through.

    Raises
    ------
    Unreachable
        At the deadline; the message begins with `cannot <what>` and ends with the last failure.
    """
    running = asyncio.run_coroutine_threadsafe(_tried(attempt, what=what, ends=ends), get_loop())
    try:
        return running.result()
    except BaseException:
        # Whoever waits may be interrupted by a signal's handler: nothing goes on behind its back.
        running.cancel()
        raise


async def _tried(attempt: Callable[[], Awaitable[_Answer]], *, what: str, ends: float) -> _Answer:
    pause_s = _FIRST_PAUSE_S
    failure: Again | None = None
    while (left_s := ends - time.monotonic()) > 0:
        began = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await attempt()
        except Again as error:
            failure = error
        except TimeoutError:
            if failure is None:
                raise Unreachable(f"cannot {what}: no answer within {time.monotonic() - began:.0f} s") from None
            break
        # Jitter: shards that a short outage has struck at once do not come back at once.
        await asyncio.sleep(min(pause_s * random.uniform(0.5, 1.5), max(0.0, ends - time.monotonic())))
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
    if failure is None:
        raise Unreachable(f"cannot {what}: the deadline has passed")
    raise Unreachable(f"cannot {what}: {failure}") from failure


def at_once(coroutine: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
    """Return what a coroutine returns that does no I/O but must be made where the event loop is."""
    return asyncio.run_coroutine_threadsafe(coroutine(), get_loop()).result()
