"""What a worker process does: it calls a function for its parent, and ends with it."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback as tracebacks
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, parent_process
from typing import Any

from resumable_sweep._outcome import ResultInvalid
from resumable_sweep._stopping import STOP_SIGNALS

LOOK_SECONDS = 1.0
"""So often each side looks whether the other is alive, where no end of a pipe says so: forked children keep it open."""

READY = b"ready"
"""What a worker process says once it has the function."""


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
        pipe.send_bytes(READY)
        while True:
            pipe.send_bytes(_answer(function, pipe.recv_bytes()))


def _answer(function: Callable[..., Any], data: bytes) -> bytes:
    try:
        item, keywords = pickle.loads(data)
        return _pickled_result(function(item, **keywords))
    except BaseException as error:  # `sys.exit` ends the parent, as it would without processes
        return _pickled_error(error)


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
        parent.join(LOOK_SECONDS)
    os._exit(1)
