"""A process that works on one item after the other for its parent, and whose death costs the item at hand only."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback as tracebacks
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process, process, resource_tracker
from types import TracebackType
from typing import Any, Self

from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._outcome import ResultInvalid, WorkerDied, WorkersCannotStart
from resumable_sweep._stopping import STOP_SIGNALS

_LOOK_SECONDS = 1.0
"""So often each side looks whether the other is alive, where no end of a pipe says so: forked children keep it open."""
_LEAVE_SECONDS = 5.0
"""So long a process may take to end of its own accord."""

_READY = b"ready"
_starting = threading.Lock()


class _InWorker(Exception):
    """Shows where in the worker process an error was raised, as the cause of that error."""

    def __init__(self, text: str) -> None:
        super().__init__(f'\n"""\n{text}"""')


class WorkerProcess:
    """Calls a function in another process, one call at a time; the process is started with the first one, and again
    after its death.

    It is a fresh interpreter, which imports the program's main module: one forked from a process with threads may
    inherit locks that nobody gives back.

    Parameters
    ----------
    function:
        The pickled function.
    """

    def __init__(self, function: bytes, *, name: str) -> None:
        self._function = function
        self._name = name
        self._lock = threading.Lock()
        self._is_ended = False
        self._process: Any = None
        self._pipe: connection.Connection | None = None

    def __call__(self, item: Any, **keywords: Any) -> Any:
        """Return what the function returns.

        Raises
        ------
        BaseException
            What the function raised.
        ResultInvalid
            Where its result cannot be sent between processes.
        WorkerDied
            Where the process died; the next call starts another one.
        """
        data = _pickled_call(item, keywords)
        if self._pipe is None:
            self._start()
        answer = self._exchange(data)
        result, error, text = pickle.loads(answer)
        if error is None:
            return result
        error.__cause__ = _InWorker(text)
        raise error

    def end(self) -> None:
        """Let the process end after the call at hand; to be followed by `kill`, which waits for it."""
        with self._lock:
            self._is_ended = True
            if self._pipe is not None:
                self._pipe.close()
        if self._process is not None:
            self._process.join(_LEAVE_SECONDS)

    def kill(self) -> None:
        """End the process at once; none is started any more."""
        with self._lock:
            self._is_ended = True
            started = self._process
            if started is not None:
                started.kill()
        if started is not None:
            started.join(_LEAVE_SECONDS)

    def _start(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        with self._lock:
            if self._is_ended:
                raise WorkerDied("the sweep has ended")
            self._process = context.Process(target=serve, args=(theirs,), name=self._name)
            _start_with_stop_signals_blocked(self._process)
        theirs.close()
        self._pipe = ours
        try:
            ready = self._exchange(self._function)
        except WorkerDied as error:
            raise WorkersCannotStart(f"{error}, before it could start to work: see what it wrote above") from error
        if ready != _READY:
            _, why, text = pickle.loads(ready)
            self._drop()
            raise WorkersCannotStart(
                f"the function cannot be loaded in a worker process ({why!r}): define it at the top level of a module "
                'that can be imported there, or use mode="threads"'
            ) from _InWorker(text)

    def _exchange(self, data: bytes) -> bytes:
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(data)
            while True:
                ready = connection.wait([self._pipe, self._process.sentinel], timeout=_LOOK_SECONDS)
                if self._pipe in ready:
                    return self._pipe.recv_bytes()
                if ready or self._process.exitcode is not None:
                    raise EOFError
        except (EOFError, OSError) as error:
            raise WorkerDied(self._drop()) from error

    def _drop(self) -> str:
        """Make way for another process, and return how this one ended."""
        assert self._pipe is not None
        self._process.join(_LEAVE_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            ended = "the worker process closed the pipe to its parent"
        else:
            ended = f"the worker process {_how_it_ended(self._process.exitcode)}"
        self._pipe.close()
        self._pipe = None
        return ended


class WorkerProcesses:
    """`count` worker processes, `each` of which is to be used by one thread; on leaving they are ended."""

    def __init__(self, function: bytes, *, count: int) -> None:
        self.each = [WorkerProcess(function, name=f"sweep worker {number}") for number in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for one in self.each:
                    one.end()
        finally:
            self.kill()

    def kill(self) -> None:
        """End them at once."""
        for one in self.each:
            one.kill()


def check_is_main_program() -> None:
    """Refuse to start worker processes while one of them imports the program.

    Raises
    ------
    RuntimeError
    """
    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a worker process came to the sweep itself while it imported the program: have the program call run(...) "
            'under `if __name__ == "__main__":`'
        )


def pickled_function(function: Callable[..., Any]) -> bytes:
    """Return `function` as it is sent to worker processes.

    Raises
    ------
    SettingsInvalid
        Where it cannot be.
    """
    try:
        return pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise SettingsInvalid(
            f"fn={function!r} cannot be sent to worker processes ({error}): define it at the top level of a module, or "
            'use mode="threads"'
        ) from error


def serve(pipe: connection.Connection) -> None:
    """Be a worker process: take a function from `pipe`, then items, and answer each with what the function returns."""
    _leave_stops_to_the_parent()
    threading.Thread(target=_end_with_the_parent, name="end with the parent", daemon=True).start()
    with suppress(EOFError, OSError):  # the parent wants no more
        try:
            function = pickle.loads(pipe.recv_bytes())
        except Exception as error:
            pipe.send_bytes(_pickled_error(error))
            return
        pipe.send_bytes(_READY)
        while True:
            pipe.send_bytes(_answer(function, pipe.recv_bytes()))


def _answer(function: Callable[..., Any], data: bytes) -> bytes:
    try:
        item, keywords = pickle.loads(data)
        return _pickled_result(function(item, **keywords))
    except BaseException as error:  # `sys.exit` ends the parent, as it would without processes
        return _pickled_error(error)


def _pickled_call(item: Any, keywords: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((item, keywords), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(
            f'the item cannot be sent to a worker process ({error}): make it of plain data, or use mode="threads"'
        ) from error


def _pickled_result(result: Any) -> bytes:
    try:
        return pickle.dumps((result, None, ""), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ResultInvalid(
            f"the result cannot be sent from the worker process ({error}): return plain data. It is {result!r:.200}"
        ) from error


def _pickled_error(error: BaseException) -> bytes:
    text = "".join(tracebacks.format_exception(error))
    try:
        data = pickle.dumps((None, error, text), pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)  # many a class of errors can be written so, and not be read
    except Exception:
        stands_in = RuntimeError("".join(tracebacks.format_exception_only(error)).strip())
        return pickle.dumps((None, stands_in, text), pickle.HIGHEST_PROTOCOL)
    return data


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    # Both the kernel, where memory runs out, and a cluster, for the same reason, use this one.
    why = " (perhaps for want of memory)" if -status == signal.SIGKILL else ""
    return f"was killed by {name}{why}"


def _start_with_stop_signals_blocked(new: Any) -> None:
    """Start a process that no interrupt from the terminal ends before it has set its own handlers."""
    with _starting:
        # The tracker's own start would unblock them again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            new.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_stops_to_the_parent() -> None:
    """Have the signals that stop a sweep do nothing here: the parent decides what becomes of the item at hand.

    Not by ignoring them: programs that the function starts would inherit that, and could not be ended.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, _do_nothing)
            signal.siginterrupt(number, False)

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    os.register_at_fork(after_in_child=put_back)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _do_nothing(signum: int, frame: object) -> None:
    pass


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    # The parent's thread that started this process may end before the parent does, so PR_SET_PDEATHSIG is of no use.
    while os.getppid() == parent.pid:
        parent.join(_LOOK_SECONDS)
    os._exit(1)
