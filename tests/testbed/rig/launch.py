"""Switch a machine on: its first process in namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rig.errors import RigError
from rig.machine import MachineSpec
from rig.processes import marks
from rig.state import State, network_namespace

_PACKAGE_PARENT = Path(__file__).resolve().parent.parent


def switch_on(state: State, spec: MachineSpec, *, index: int, directory: Path) -> None:
    """Start the machine in its network namespace, which is there already; returns at once."""
    logs = Path(spec.logs)
    logs.mkdir(parents=True, exist_ok=True)
    for source in spec.binds.values():
        if not Path(source).exists():
            raise RigError(f"machine {spec.name}: {source} is to be mounted, but is not there")
    path = directory / "machine.json"
    spec.write(path)
    _detach(
        [
            *("nsenter", f"--net=/run/netns/{network_namespace(index, spec.name)}"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-m", "rig.machine", str(path)),
        ],
        marked=marks(state.directory, spec.name),
        log=logs / "machine.log",
    )


def start_apart(state: State, module: str, *arguments: str, log: Path) -> None:
    """Run one of the testbed's modules as a process that outlives this one, and that `down` ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _detach([sys.executable, "-m", module, *arguments], marked=marks(state.directory, "cloud"), log=log)


def _detach(argv: list[str], *, marked: dict[str, str], log: Path) -> None:
    with log.open("ab") as output:
        # The program becomes a child of init at once: nobody here would ever wait for it.
        subprocess.run(
            ["setsid", "--fork", *argv],
            cwd="/",
            env={**_environment(), **marked},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )


def _environment() -> dict[str, str]:
    # What a machine runs must not depend on the variables of whoever starts it (proxies, KUBECONFIG, credentials).
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "XDG_CACHE_HOME") if name in os.environ}
    path = kept.get("PATH", "")
    return {**kept, "PATH": f"{path}:/usr/sbin:/sbin", "PYTHONPATH": str(_PACKAGE_PARENT), "PYTHONUNBUFFERED": "1"}
