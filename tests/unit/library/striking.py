"""Sending a signal to a process that is surely waiting for something."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def strike(process: subprocess.Popen[str], signum: int) -> None:
    """Send `signum` once the main thread of `process` sleeps in a system call.

    What arrives in the instant before such a call is seen by Python's handlers only after it, which may be never.
    """
    until = time.monotonic() + 60
    while _state(process.pid) != "S":
        assert time.monotonic() < until, "it never came to wait for anything"
        time.sleep(0.001)
    process.send_signal(signum)


def _state(pid: int) -> str:
    # proc(5): the state follows the name, which may hold anything but is in brackets.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
