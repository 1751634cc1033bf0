"""The one setting of the host that the testbed changes, and puts back when the last cluster goes.

A node takes about ten inotify instances, and Linux gives a user 128 by default: two clusters' kubelets would fail with
"too many open files". All other kernel settings that a node changes are its own.
"""

from __future__ import annotations

from pathlib import Path

_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 4096


def raise_limits(memory: Path, *, setting: Path = _INSTANCES) -> None:
    """Raise the limit where it is too low, after noting what it was in the file ``memory``."""
    before = int(setting.read_text())
    if before >= _ENOUGH:
        return
    if not memory.exists():
        memory.write_text(f"{before}\n")
    setting.write_text(f"{_ENOUGH}\n")


def restore_limits(memory: Path, *, setting: Path = _INSTANCES) -> None:
    """Put back what ``raise_limits`` noted; nothing if it noted nothing."""
    if memory.exists():
        setting.write_text(memory.read_text())
        memory.unlink()
