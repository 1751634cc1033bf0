"""Being asked to stop, by a signal or a notice: the item at hand can still be finished while there is time."""

from __future__ import annotations

import _thread
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from resumable_sweep._notice import Notice, NoticeFile
from resumable_sweep._shield import Shield

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
NOTICE_MARGIN_SECONDS = 2.0
"""How long before a notice's deadline the item at hand is abandoned, so that the program can still leave in order."""

_WATCH_SECONDS = 0.5
_FIRST_PRESS_SECONDS, _LAST_PRESS_SECONDS = 0.05, 1.0

_entered: list[StopSignals] = []
"""Those that are entered, in whatever thread: a stop that is asked of one is asked of all."""
_trapping: list[StopSignals] = []
"""Those of them whose handlers stand, the latest last."""
_shield = Shield()
"""One for all of the process, or the handler of one sweep could tear what another one writes."""


@dataclass
class _Handling:
    """What the handlers, which are called with nothing but a signal's number, have to know of what went before."""

    interrupted: bool = False
    """Whether a second interrupt is still to be raised."""
    sent: int | None = None
    """The signal that a watch has sent in order to be heard, which must not be taken for somebody's."""


_handling = _Handling()


@dataclass(frozen=True)
class _Ask:
    """Somebody asked to stop: `at` and `limit` are monotonic seconds."""

    reason: str
    signum: signal.Signals
    at: float
    limit: float | None = None

    @property
    def status(self) -> int:
        return 128 + self.signum


def report_on_stderr(text: str) -> None:
    """Write a line to standard error, from within a signal's handler too."""
    # Not print: a handler may run in the middle of another print, whose buffer is not reentrant.
    with suppress(OSError):  # standard error may be closed; the stop counts all the same
        os.write(2, f"resumable_sweep: {text}\n".encode(errors="backslashreplace"))


class StopSignals:
    """While entered, SIGTERM, SIGINT and a notice file ask to stop, and the item at hand may still be finished.

    A second SIGINT raises KeyboardInterrupt at once, whatever asked first. The handlers that stood before are put back
    on leaving. A SIGINT that is ignored stays so: a shell starts its background jobs like that.

    That a handler is set is what makes SIGTERM arrive at all in a container whose first process is Python: the kernel
    drops signals with the default action for a PID namespace's process 1 (pid_namespaces(7)).

    Where several are entered, a stop that is asked of one is asked of all of them. Off the main thread Python allows no
    handlers, and nothing can be raised from outside: there `stopping` is all that says so, of the notice file and of
    the signals that one in the main thread has trapped. In a forked child all stays as it was at the fork.

    Parameters
    ----------
    grace:
        Seconds for which the item at hand may go on once a stop is asked for; then it is abandoned: `SystemExit` is
        raised in the main thread, out of a blocking call too. Compiled code that looks at no signals is not cut short:
        it is raised on the return to Python. None = no limit, 0 = at once.
    notice_file:
        File that asks to stop by being there (see `parsed_notice`), and takes that back by going away, unless the
        program is leaving or a signal has come as well. Its deadline, less `NOTICE_MARGIN_SECONDS`, cuts the grace.
    clock, unix_time:
        Monotonic seconds; Unix seconds.
    report:
        Gets a sentence for people whenever something is asked, withdrawn or abandoned. It is called in handlers and in
        another thread: it must neither raise nor wait for a lock.

    Raises
    ------
    ValueError
        Where `grace` is negative or no number, or `notice_file` is a folder.

    Notes
    -----
    It is entered once. Inside, a daemon thread runs: with a `notice_file` from the start, with a `grace` once asked.
    """

    def __init__(
        self,
        *,
        grace: float | None = None,
        notice_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
        report: Callable[[str], None] = report_on_stderr,
    ) -> None:
        if grace is not None and not 0 <= grace < math.inf:
            raise ValueError(f"grace={grace!r} must be seconds, 0 or more: leave it out for no limit")
        self._grace = grace
        self._clock = clock
        self._unix_time = unix_time
        self._report = report
        self._notice_file: NoticeFile | None = None
        if notice_file is not None:
            self._notice_file = NoticeFile(notice_file, changed=self._note_notice, report=report, clock=clock)
        self._owner = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        self._main_thread: int | None = None
        """Where the handlers run; None where this one traps nothing."""
        self._signal: _Ask | None = None
        self._notice: _Ask | None = None
        self._settled: tuple[_Ask, ...] | None = ()
        """What is asked once that can change no more; None while it can."""
        self._watching = False
        self._gate = threading.Lock()
        # As a semaphore: who releases it wakes the watch. Unlike Event.set that waits for nothing, so a handler may.
        self._alarm = threading.Lock()
        self._alarm.acquire()

    def __enter__(self) -> StopSignals:
        try:
            with _shield:
                self._enter()
        except BaseException:
            # Something was due at once, and no `with` will leave this one.
            with _shield:
                self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _shield:
            self._leave()

    @property
    def stopping(self) -> bool:
        """Whether a stop is asked for; cheap, the notice file is looked at ten times a second at most."""
        return self._asked() is not None

    @property
    def signum(self) -> signal.Signals | None:
        """The signal that asked; a notice counts as the SIGTERM that it announces."""
        ask = self._asked()
        return None if ask is None else ask.signum

    @property
    def exit_status(self) -> int | None:
        """The exit status that says what asked (143 or 130, as a shell would), None where nothing did."""
        ask = self._asked()
        return None if ask is None else ask.status

    @property
    def reason(self) -> str | None:
        """What asked: `SIGTERM`, `SIGINT`, or `notice: ` and the reason that it gives."""
        ask = self._asked()
        return None if ask is None else ask.reason

    @property
    def deadline(self) -> float | None:
        """The monotonic time at which the item at hand is abandoned; None where nobody asked or nothing limits it."""
        self._asked()
        return self._limit()

    def leave_if_asked(self) -> None:
        """Raise `SystemExit` with the exit status where a stop is asked for; from then on nothing withdraws it."""
        ask = self._asked()
        if ask is not None:
            self._settle()
            raise SystemExit(ask.status)

    def leave_if_overdue(self) -> None:
        """Raise `SystemExit` with the exit status where the time for what is at hand is over.

        For one who waits off the main thread, or after `leave_if_asked` has raised: there no handler does so.
        """
        deadline = self.deadline
        if deadline is not None and self._clock() >= deadline:
            self._abandon()

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which nothing is raised into the main thread: what is due comes on leaving it.

        For the few calls that must not be torn apart; nothing in it may wait for long. It may be nested.
        """
        return _shield

    def _enter(self) -> None:
        self._settled = None
        self._signal = next((stop._signal for stop in tuple(_entered) if stop._signal is not None), None)
        _entered.append(self)
        if threading.current_thread() is threading.main_thread():
            self._trap()
        if self._notice_file is not None:
            self._notice_file.look()
        if self._notice_file is not None or self._limit() is not None:
            self._watch_or_wake()

    def _leave(self) -> None:
        # Within the gate, so that the watch sends nothing any more once the handlers are those before.
        with self._gate:
            self._settle()
        if self in _entered:
            _entered.remove(self)
        if self in _trapping:
            self._put_back()
        self._wake()

    def _settle(self) -> None:
        if self._settled is None:
            self._settled = self._asks()

    def _trap(self) -> None:
        self._main_thread = threading.get_ident()
        _trapping.append(self)
        for number in STOP_SIGNALS:
            before = signal.getsignal(number)
            # None: set by other than Python code, which could not be put back.
            if before is None or (number == signal.SIGINT and before == signal.SIG_IGN):
                continue
            self._before[number] = before
            signal.signal(number, self._note)

    def _put_back(self) -> None:
        later = _trapping[_trapping.index(self) + 1 :]
        _trapping.remove(self)
        for number, before in self._before.items():
            # Tasks of one event loop leave in any order: then the next one has to put back what this one found.
            heir = next((stop for stop in later if stop._before.get(number) == self._note), None)
            if heir is None:
                signal.signal(number, before)
            else:
                heir._before[number] = before
        self._before.clear()

    def _asks(self) -> tuple[_Ask, ...]:
        """Return all that asks; what counts first: a signal stays, a notice may be withdrawn."""
        if self._settled is not None:
            return self._settled
        found = [self._signal, self._notice, *(stop._notice for stop in tuple(_entered) if stop is not self)]
        return tuple(ask for ask in found if ask is not None)

    def _asked(self) -> _Ask | None:
        if self._settled is None and self._notice_file is not None:
            self._notice_file.look_if_time()
        asks = self._asks()
        return asks[0] if asks else None

    def _limit(self) -> float | None:
        asks = self._asks()
        limits = [ask.limit for ask in asks if ask.limit is not None]
        if self._grace is not None:
            limits += [ask.at + self._grace for ask in asks]
        return min(limits, default=None)

    def _is_overdue(self) -> bool:
        limit = self._limit()
        return self._settled is None and limit is not None and self._clock() >= limit

    def _abandon(self) -> NoReturn:
        ask = self._asks()[0]
        # Of all: what the program does on its way out is not to be cut off by the next one's deadline.
        for stop in (self, *_trapping):
            stop._settle()
        self._report(f"{ask.reason}: no time is left: abandoning the item at hand, leaving with status {ask.status}")
        raise SystemExit(ask.status)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # In a forked child, before it has put the handlers back.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        if signum == _handling.sent:
            _handling.sent = None
        elif signum == signal.SIGINT and any(stop._asks() for stop in tuple(_entered)):
            _handling.interrupted = True
        else:
            self._note_signal(signal.Signals(signum))
        _shield.run_outside(_raise_what_is_due)

    def _note_signal(self, number: signal.Signals) -> None:
        ask = _Ask(number.name, number, self._clock())
        asked = [stop for stop in tuple(_entered) if stop._signal is None]
        for stop in asked:
            stop._signal = ask
        if asked:
            self._spread(ask)

    def _note_notice(self, found: Notice | None) -> None:
        before = self._notice
        if found is None:
            self._notice = None
            if self._signal is None:
                self._report("the notice is withdrawn: going on")
            return
        now = self._clock()
        limit = None
        if found.deadline is not None:
            limit = now + found.deadline - self._unix_time() - NOTICE_MARGIN_SECONDS
        at = now if before is None else before.at
        self._notice = _Ask(f"notice: {found.reason}", signal.SIGTERM, at, limit)
        self._spread(self._notice, found.problem)

    def _spread(self, ask: _Ask, problem: str = "") -> None:
        """Say that `ask` came, and have the item at hand ended in time."""
        limits = [limit for stop in tuple(_trapping) if (limit := stop._limit()) is not None]
        left = min(limits, default=math.inf) - self._clock()
        if left > 0:  # else it is abandoned, which is said then
            text = "finishing the item at hand" + ("" if math.isinf(left) else f" within {left:.3g} s")
            again = "; interrupt again to end at once" if ask.signum == signal.SIGINT else ""
            but = f" ({problem})" if problem else ""
            self._report(f"{ask.reason}{but}: {text}, then leaving with status {ask.status}{again}")
        for stop in tuple(_trapping):
            if stop._limit() is not None and stop._settled is None:
                stop._watch_or_wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is awake
            self._alarm.release()

    def _watch_or_wake(self) -> None:
        if self._watching:
            self._wake()
            return
        self._watching = True
        try:
            # Not Thread.start: this may run in a handler, and what that interrupts may hold the locks that it takes.
            _thread.start_new_thread(self._watch, ())
        except RuntimeError as error:
            self._watching = False
            self._report(f"{error}: nothing ends the item at hand, and nothing looks for a notice while it runs")

    def _watch(self) -> None:
        """Look for the notice, and tell the main thread when the time for the item at hand is over."""
        press = _FIRST_PRESS_SECONDS
        while self._settled is None:
            if self._notice_file is not None:
                self._notice_file.look()
            limit = self._limit()
            left = math.inf if limit is None else limit - self._clock()
            if left > 0 or self._main_thread is None:
                pause = min(_WATCH_SECONDS, left) if left > 0 else _WATCH_SECONDS
            else:
                with self._gate:
                    if self._settled is None and not _shield.holds_off:
                        _send_to(self._main_thread)
                # Again until it is heard: a signal that comes just before a blocking call does not interrupt it.
                pause, press = press, min(2 * press, _LAST_PRESS_SECONDS)
            self._alarm.acquire(timeout=pause)

    def _be_forked(self) -> None:
        self._settle()
        # The watch, which is not in the child, may have held it.
        self._gate = threading.Lock()


def _send_to(main_thread: int) -> None:
    """Make the main thread run a handler of ours, where one still stands."""
    for number in STOP_SIGNALS:
        if getattr(signal.getsignal(number), "__func__", None) is StopSignals._note:
            _handling.sent = number
            signal.pthread_kill(main_thread, number)
            return


def _raise_what_is_due() -> None:
    """Raise KeyboardInterrupt after a second interrupt, SystemExit where the time of one that traps is over."""
    if _handling.interrupted:
        _handling.interrupted = False
        raise KeyboardInterrupt
    late = next((stop for stop in reversed(_trapping) if stop._is_overdue()), None)
    if late is not None:
        late._abandon()


def _put_back_in_child() -> None:
    """Let a forked worker end by signals as before, and be asked nothing more.

    multiprocessing's `Pool.terminate` waits for ever if one does not. A handler of Python's that tells the child from
    its parent is not enough: it runs between two byte codes, thus never if the signal comes just before a system call
    that blocks.
    """
    for stop in tuple(_entered):
        stop._be_forked()
    for stop in reversed(tuple(_trapping)):
        stop._put_back()
    _entered.clear()
    _handling.interrupted, _handling.sent = False, None


os.register_at_fork(after_in_child=_put_back_in_child)
