"""A last checkpoint before the machine goes: written between two steps, if there is time for a whole one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from resumable_sweep._stopping import StopSignals, report_on_stderr
from resumable_sweep.contract import environment as env

_MARGIN = 1.5
"""A last save is begun only if there is so many times the time that the one before it took."""


class PreemptGuard:
    """While entered, a stop that is asked for lets the step at hand end; then `save` is called and the program left.

    SIGTERM, SIGINT and the notice file ask; the exit status is 143, after SIGINT 130. `check`, called between two
    steps, does all of it. So does leaving the block without an exception. What stands after the block runs only if
    nobody has asked.

    Parameters
    ----------
    save:
        Writes the last checkpoint, of the state as it is between two steps. No signal's exception comes out of it.
    grace:
        Seconds for which the step at hand may go on after a stop was asked for. Then it is abandoned by `SystemExit`,
        and nothing is saved: in the middle of a step there is no state. None = no limit but the notice's deadline.
    notice_file:
        File whose appearing asks to stop; left out, what `SWEEP_NOTICE_FILE` names, if it names anything.
    save_seconds:
        Says how long a save took last, in seconds, or None: `lambda: checkpointer.save_seconds`. Where less than 1.5
        times that is left before the deadline, nothing is saved: the checkpoint before, which is whole and perhaps
        uploaded by now, is worth more than one that is cut off. Left out, a save is begun while any time is left.
    clock, unix_time:
        Monotonic seconds; Unix seconds.
    report:
        Gets sentences for people.
    """

    def __init__(
        self,
        save: Callable[[], object],
        *,
        grace: float | None = None,
        notice_file: str | os.PathLike[str] | None = None,
        save_seconds: Callable[[], float | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
        report: Callable[[str], None] = report_on_stderr,
    ) -> None:
        file = notice_file if notice_file is not None else os.environ.get(env.NOTICE_FILE) or None
        self._save = save
        self._save_seconds = save_seconds
        self._clock = clock
        self._report = report
        self._stop = StopSignals(
            grace=grace,
            notice_file=None if file is None else Path(file),
            clock=clock,
            unix_time=unix_time,
            report=report,
        )

    def __enter__(self) -> PreemptGuard:
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # After an exception the state may be in the middle of a step; after `check` it is saved.
            if error is None:
                self.check()
        finally:
            self._stop.__exit__(kind, error, trace)

    @property
    def stopping(self) -> bool:
        """Whether a stop is asked for; a loop may look at it in the middle of a step, in order to end it early."""
        return self._stop.stopping

    @property
    def reason(self) -> str | None:
        """What asked: `SIGTERM`, `SIGINT`, or `notice: ` and the reason that it gives."""
        return self._stop.reason

    @property
    def deadline(self) -> float | None:
        """The monotonic time by which all has to be done; None where nobody asked or nothing limits it."""
        return self._stop.deadline

    def check(self) -> None:
        """Do nothing where no stop is asked for; else save and raise `SystemExit`.

        To be called between two steps: by the loop, or as the callback that a framework calls at the end of a step.

        Raises
        ------
        SystemExit
            With status 143, or 130 after SIGINT.
        Exception
            Whatever `save` raises.
        """
        if not self._stop.stopping:
            return
        # Within the shield: what a deadline raises would come out of the middle of a write.
        with self._stop.shielded():
            self._save_if_time()
        self._stop.leave_if_asked()

    def _save_if_time(self) -> None:
        deadline = self._stop.deadline
        took = self._save_seconds() if self._save_seconds is not None else None
        left = None if deadline is None else deadline - self._clock()
        if left is not None and (left <= 0 or (took is not None and left < _MARGIN * took)):
            last = "" if took is None else f", and the last save took {took:.3g} s"
            self._report(f"no last checkpoint: {max(left, 0):.3g} s are left{last}. The one before stands")
            return
        self._save()
