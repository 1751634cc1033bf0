"""The processes of a cluster, found by what is in their environment: no list of them can be out of date.

Every process that the testbed starts, and whatever that starts in turn, carries the state directory and the name of its
machine.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from rig.errors import RigError

STATE_VARIABLE = "RSW_TESTBED_STATE"
MACHINE_VARIABLE = "RSW_TESTBED_MACHINE"

_PROC = Path("/proc")


def marks(state: Path, machine: str) -> dict[str, str]:
    """Environment by which a process of ``machine`` is found again."""
    return {STATE_VARIABLE: str(state), MACHINE_VARIABLE: machine}


def of_cluster(state: Path, *, proc: Path = _PROC) -> dict[int, str]:
    """Machine name by process id, for all processes of the cluster except this one."""
    found: dict[int, str] = {}
    for directory in proc.glob("[0-9]*"):
        try:
            raw = (directory / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        variables = dict(item.partition("=")[::2] for item in raw.decode(errors="replace").split("\0"))
        if variables.get(STATE_VARIABLE) == str(state) and int(directory.name) != os.getpid():
            found[int(directory.name)] = variables.get(MACHINE_VARIABLE, "")
    return found


def first_of(state: Path, machine: str) -> int | None:
    """Process id, on the host, of the first process of a machine; None if the machine is off."""
    for pid, name in of_cluster(state).items():
        if name == machine and _is_first_in_namespace(pid):
            return pid
    return None


def end(pids: Collection[int]) -> None:
    """SIGKILL the processes; those that are gone already do not matter."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def end_machine(state: Path, machine: str, *, seconds: float = 20) -> None:
    """SIGKILL all of a machine at once, through its first process, and wait until nothing of it is left."""
    first = first_of(state, machine)
    if first is not None:
        end([first])
    deadline = time.monotonic() + seconds
    while pids := [pid for pid, name in of_cluster(state).items() if name == machine]:
        end(pids)
        if time.monotonic() > deadline:
            raise RigError(f"processes {pids} of {machine} outlive SIGKILL after {seconds:.0f} s")
        time.sleep(0.02)


def _is_first_in_namespace(pid: int) -> bool:
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"
