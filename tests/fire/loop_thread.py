"""An event loop in a thread of its own, for what goes on while a test's own thread waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_THREADS = 32
_LONGEST_SECONDS = 120
_CLOSING_SECONDS = 0.1


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.loop.set_default_executor(ThreadPoolExecutor(_THREADS))
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_LONGEST_SECONDS)

    def stop(self) -> None:
        """End whatever still runs, and the thread."""
        self.do(_cancel_others())
        self.do(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # Connections with TLS close in turns of the loop that nobody can wait for.
    await asyncio.sleep(_CLOSING_SECONDS)
