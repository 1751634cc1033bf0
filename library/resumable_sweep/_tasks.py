"""Several items at once as tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resumable_sweep._item_ending import with_error, with_result
from resumable_sweep._stopping import StopSignals
from resumable_sweep._sweep import ResumableSweep
from resumable_sweep._threads import seconds_to_wait

_RECORDERS = 8
"""Most threads that wait for the disk; more of them would only wait for each other."""

_END = object()


class Tasks:
    """Works on the items of `sweep` with the coroutine function `work`, `workers` at once.

    No more items are taken than that.
    """

    def __init__(
        self, sweep: ResumableSweep, work: Callable[[Any], Awaitable[Any]], *, workers: int, stop: StopSignals
    ) -> None:
        self._sweep = sweep
        self._work = work
        self._workers = workers
        self._stop = stop
        self._at_hand: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []

    async def run(self) -> None:
        """Work on all there is to do.

        Raises
        ------
        BaseException
            What ended it: a stop, an error of the disk, a failure where the sweep has `on_error="raise"`. But for a
            second interrupt, and where the time to stop is over, those at hand are waited for and recorded first.
        """
        # Threads of its own: those of `asyncio.to_thread` may all be busy with what the program does in them. Leaving
        # waits for the records at hand, so none comes after the log is closed.
        with ThreadPoolExecutor(min(self._workers, _RECORDERS), thread_name_prefix="sweep record") as recorders:
            await self._hand_out(recorders)
        if self._errors:
            raise self._errors[0]

    async def _hand_out(self, recorders: ThreadPoolExecutor) -> None:
        pending = self._sweep.pending
        while True:
            await self._wait_until_at_hand(self._workers - 1)
            if self._errors or self._sweep.stopping:
                # Only then ask for the next: from that on the stop cannot be withdrawn, and nobody watches the time.
                await self._wait_until_at_hand(0)
            if self._errors:
                return
            try:
                item = next(pending, _END)
            except (Exception, SystemExit):
                await self._wait_until_at_hand(0)
                raise
            if item is _END:
                await self._wait_until_at_hand(0)
                return
            task = asyncio.create_task(self._do(item, recorders))
            task.add_done_callback(_hear_out)
            self._at_hand.add(task)

    async def _wait_until_at_hand(self, most: int) -> None:
        while len(self._at_hand) > most:
            done, self._at_hand = await asyncio.wait(
                self._at_hand, timeout=seconds_to_wait(self._stop), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()  # one that was cancelled ends the sweep
            if not done:
                self._stop.leave_if_overdue()

    async def _do(self, item: Any, recorders: ThreadPoolExecutor) -> None:
        try:
            end = with_result(self._sweep, item, await self._work(item))
        except Exception as error:
            end = with_error(self._sweep, item, error)
        except SystemExit as error:
            # Raised by the work, or into it because its time is over; then the others' is, too.
            self._stop.leave_if_overdue()
            self._errors.append(error)
            return
        try:
            await asyncio.get_running_loop().run_in_executor(recorders, end)
        except Exception as error:
            self._errors.append(error)  # `run` raises it


def _hear_out(task: asyncio.Task[None]) -> None:
    # What ends the loop ends it before anybody asks its task, which asyncio would complain of.
    if not task.cancelled():
        task.exception()
