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
    with (logs / "machine.log").open("ab") as output:
        subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{network_namespace(index, spec.name)}"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", "rig.machine", str(path)),
            ],
            cwd="/",
            env={**_environment(), **marks(state.directory, spec.name)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def start_apart(state: State, module: str, *arguments: str, log: Path) -> None:
    """Run one of the testbed's modules as a process that outlives this one, and that `down` ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd="/",
            env={**_environment(), **marks(state.directory, "cloud")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    # What a machine runs must not depend on the variables of whoever starts it (proxies, KUBECONFIG, credentials).
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "XDG_CACHE_HOME") if name in os.environ}
    path = kept.get("PATH", "")
    return {**kept, "PATH": f"{path}:/usr/sbin:/sbin", "PYTHONPATH": str(_PACKAGE_PARENT), "PYTHONUNBUFFERED": "1"}
