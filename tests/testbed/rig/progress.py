"""Lines that tell a waiting person what is going on, with seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]

_printing = threading.Lock()


def say(line: str) -> None:
    """Print a line on standard error at once; standard output is kept for what programs read."""
    with _printing:
        print(line, file=sys.stderr, flush=True)


def keep_quiet(line: str) -> None:
    """Swallow the line: for tests that want no output."""


@contextmanager
def timed(what: str, *, report: Say) -> Iterator[None]:
    """Report ``what`` together with how long the block took; a block that raises is reported by its exception alone."""
    started = time.monotonic()
    yield
    report(f"  {what} ({time.monotonic() - started:.1f} s)")
