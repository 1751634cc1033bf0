"""Being asked to stop: SIGTERM and SIGINT are noted, so that the item at hand can still be finished."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_trapping: list[StopSignals] = []
"""Those whose handlers stand, the latest last."""


class StopSignals:
    """While entered, SIGTERM and SIGINT set `signum` instead of ending the process.

    A second SIGINT raises KeyboardInterrupt at once, whatever the first signal was. The handlers that stood before are
    put back on leaving. Off the main thread Python allows no handlers, so there nothing is trapped. A SIGINT that is
    ignored stays so: a shell starts its background jobs like that.

    That a handler is set is what makes SIGTERM arrive at all in a container whose first process is Python: the kernel
    drops signals with the default action for a PID namespace's process 1 (pid_namespaces(7)).
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._owner = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            _trapping.append(self)
            for number in STOP_SIGNALS:
                before = signal.getsignal(number)
                # None: set by other than Python code, which could not be put back.
                if before is None or (number == signal.SIGINT and before == signal.SIG_IGN):
                    continue
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in _trapping:
            self._put_back()

    @property
    def exit_status(self) -> int | None:
        """The exit status that says which signal asked (143 or 130, as a shell would), None where none did."""
        return None if self.signum is None else 128 + self.signum

    def _put_back(self) -> None:
        _trapping.remove(self)
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # In a forked child, before it has put the handlers back.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        if self.signum is not None:
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signum = signum
        name = signal.Signals(signum).name
        again = "; interrupt again to end at once" if signum == signal.SIGINT else ""
        # Not print: a handler may run in the middle of another print, whose buffer is not reentrant.
        text = f"resumable_sweep: {name}: finishing the item at hand, then leaving with status {128 + signum}{again}\n"
        with suppress(OSError):  # standard error may be closed; the stop counts all the same
            os.write(2, text.encode())


def _put_back_in_child() -> None:
    """Let a forked worker end by signals as before.

    multiprocessing's `Pool.terminate` waits for ever if one does not. A handler of Python's that tells the child from
    its parent is not enough: it runs between two byte codes, thus never if the signal comes just before a system call
    that blocks.
    """
    for stop in reversed(tuple(_trapping)):
        stop._put_back()


os.register_at_fork(after_in_child=_put_back_in_child)
