from __future__ import annotations

import asyncio
import threading

import pytest

from sweep_operator.runtime.beside import FROM_SHARDS, beside_the_loop


async def test_the_loop_goes_on_while_a_large_sweep_is_calculated() -> None:
    goes_on = threading.Event()
    asyncio.get_running_loop().call_soon(goes_on.set)
    assert await beside_the_loop(FROM_SHARDS, goes_on.wait, timeout=20)


async def test_a_small_sweep_is_calculated_at_once() -> None:
    assert await beside_the_loop(FROM_SHARDS - 1, threading.current_thread) is threading.current_thread()


@pytest.mark.parametrize("shards", [1, FROM_SHARDS])
async def test_what_goes_wrong_is_raised(shards: int) -> None:
    with pytest.raises(ValueError, match="not a number"):
        await beside_the_loop(shards, _fail)


def _fail() -> None:
    raise ValueError("not a number")
