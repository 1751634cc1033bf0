"""What a process holds at a moment, as the kernel counts it (proc_pid_stat(5), proc_pid_fdinfo(5))."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = "memory"
DESCRIPTORS = "file descriptors"
THREADS = "threads"
WATCHES = "inotify watches"


def sampled(pid: int) -> dict[str, float]:
    """Return resident memory (MiB), file descriptors, threads and inotify watches."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    described = [_text(path) for path in sorted((folder / "fdinfo").iterdir())]
    return {
        MEMORY: int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
        DESCRIPTORS: len(described),
        THREADS: int(fields[17]),
        WATCHES: sum(line.startswith("inotify wd:") for text in described for line in text.splitlines()),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # closed since it was listed
