"""The cgroups of a cluster's machines: one parent each, in every hierarchy that is mounted (version 1, 2 or both)."""

from __future__ import annotations

import contextlib
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")


def hierarchies(mounts: Path = _MOUNTS) -> list[Path]:
    """Mount points of all cgroup hierarchies."""
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return [Path(fields[1]) for fields in lines if fields[2] in ("cgroup", "cgroup2")]


def create(path: str, *, roots: list[Path] | None = None) -> None:
    """Make the cgroup ``path`` in every hierarchy, fit to hold a kubelet's pods."""
    for root in hierarchies() if roots is None else roots:
        parent = root
        for part in Path(path).parts:
            _delegate(parent)
            child = parent / part
            child.mkdir(exist_ok=True)
            # A new cpuset cgroup of version 1 is empty, and no process can enter it before it has CPUs and memory.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (root / "cpuset.cpu_exclusive").exists() and not (child / name).read_text().strip():
                    (child / name).write_text((parent / name).read_text())
            parent = child
        _delegate(parent)


def members(path: str, *, roots: list[Path] | None = None) -> set[int]:
    """Process ids in the cgroup ``path`` and all below it."""
    found: set[int] = set()
    for root in hierarchies() if roots is None else roots:
        for file in (root / path).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # the cgroup may go away, and a threaded one cannot be read
                found |= {int(pid) for pid in file.read_text().split()}
    return found


def remove(path: str, *, roots: list[Path] | None = None) -> list[Path]:
    """Remove the empty cgroup ``path`` and all below it; return what would not go."""
    left = []
    for root in hierarchies() if roots is None else roots:
        top = root / path
        below = sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: len(p.parts), reverse=True)
        for directory in [*below, top]:
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(directory)
    return left


def _delegate(directory: Path) -> None:
    # Version 2 hands a controller down only where the parent says so; version 1 has no such file.
    control = directory / "cgroup.subtree_control"
    offered = directory / "cgroup.controllers"
    if control.exists() and offered.exists():
        wanted = " ".join(f"+{name}" for name in offered.read_text().split())
        if wanted:
            control.write_text(wanted)
