"""A process that works on one item after the other for its parent, and whose death costs the item at hand only."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable
from multiprocessing import connection, get_context, process, resource_tracker
from types import TracebackType
from typing import Any, Self

from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._outcome import WorkerDied, WorkersCannotStart
from resumable_sweep._stopping import STOP_SIGNALS
from resumable_sweep._worker_side import LOOK_SECONDS, READY, serve

_LEAVE_SECONDS = 5.0
"""So long a process may take to end of its own accord."""

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
        if self._pipe is not None and self._process.exitcode is not None:
            self._drop()  # it died with nothing at hand, so this item is not to blame
        if self._pipe is None:
            self._start()
        result, error, text = pickle.loads(self._exchange(data))
        if error is None:
            return result
        error.__cause__ = _InWorker(text)
        raise error

    def close(self) -> None:
        """Ask the process to end, which has nothing at hand."""
        with self._lock:
            self._is_ended = True
            if self._pipe is not None:
                self._pipe.close()

    def kill(self) -> None:
        """End the process at once, and start none any more."""
        with self._lock:
            self._is_ended = True
            if self._process is not None:
                self._process.kill()

    def join(self) -> None:
        """Wait for the end of the process, but not for ever."""
        if self._process is not None:
            self._process.join(_LEAVE_SECONDS)

    def _start(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        with self._lock, theirs:
            if self._is_ended:
                raise WorkerDied("the sweep has ended")
            starting = context.Process(target=serve, args=(theirs,), name=self._name)
            try:
                _start_with_stop_signals_blocked(starting)
            except OSError as error:
                raise WorkersCannotStart(f"no worker process can be started: {error}") from error
            self._process = starting
        self._pipe = ours
        try:
            ready = self._exchange(self._function)
        except WorkerDied as error:
            raise WorkersCannotStart(f"{error}, before it could start to work: see what it wrote above") from error
        if ready != READY:
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
                ready = connection.wait([self._pipe, self._process.sentinel], timeout=LOOK_SECONDS)
                is_dead = bool(ready) or self._process.exitcode is not None
                if self._pipe in ready or (is_dead and self._pipe.poll()):
                    return self._pipe.recv_bytes()
                if is_dead:
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
                    one.close()
                for one in self.each:
                    one.join()
        finally:
            self.kill()

    def kill(self) -> None:
        """End them at once."""
        for one in self.each:
            one.kill()
        for one in self.each:
            one.join()


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


def _pickled_call(item: Any, keywords: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((item, keywords), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(
            f'the item cannot be sent to a worker process ({error}): make it of plain data, or use mode="threads"'
        ) from error


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
