from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from soak.process import DESCRIPTORS, MEMORY, THREADS, WATCHES, sampled

# Each line of its input makes it hold more of something, and is answered once it does.
PROGRAM = """
import ctypes, os, sys, threading
libc, held, never = ctypes.CDLL(None, use_errno=True), [], threading.Event()
def watch():
    held.append(libc.inotify_init())
    if libc.inotify_add_watch(held[-1], b"/", 0x100) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
more = {
    "memory": lambda: held.append(b"x" * (32 << 20)),
    "file descriptors": lambda: held.append(os.dup(0)),
    "threads": lambda: threading.Thread(target=never.wait, daemon=True).start(),
    "inotify watches": watch,
}
print("ready", flush=True)
for line in sys.stdin:
    more[line.strip()]()
    print("done", flush=True)
"""


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
        started.kill()


@pytest.mark.parametrize(
    ("quantity", "more"), [(MEMORY, 32.0), (DESCRIPTORS, 1.0), (THREADS, 1.0), (WATCHES, 1.0)], ids=str
)
def test_what_a_process_holds_more_is_seen(program: subprocess.Popen[str], quantity: str, more: float) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    before = sampled(program.pid)
    program.stdin.write(f"{quantity}\n")
    program.stdin.flush()
    assert program.stdout.readline() == "done\n"
    after = sampled(program.pid)
    assert after[quantity] - before[quantity] == pytest.approx(more, rel=0.1)


def test_what_is_closed_meanwhile_is_passed_over() -> None:
    ended = threading.Event()

    def open_and_close() -> None:
        while not ended.is_set():
            os.close(os.dup(0))

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        assert all(sampled(os.getpid())[DESCRIPTORS] > 0 for _ in range(50))
    finally:
        ended.set()
        thread.join()
