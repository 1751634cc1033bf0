"""The first process of a machine: it has its own process, mount and network namespace, and starts what runs there.

When it ends, however it ends, the kernel ends every other process in the machine at once and drops its mounts: a
machine without power. Asked to end by SIGTERM it first lets those finish who asked for a delay, like systemd-logind.

Runs as ``python -m rig.machine MACHINE.json``; see ``rig.launch`` for who starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rig.daemons import Daemon, answers

_RESTART_AFTER_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """What a machine runs and sees.

    ``binds`` maps a place in the machine to what is mounted there; ``fresh`` are places that start out empty;
    ``login_manager`` says whether it has a login manager (see ``rig.logind``).
    """

    name: str
    logs: str
    daemons: Sequence[Daemon]
    binds: Mapping[str, str] = field(default_factory=dict)
    fresh: Sequence[str] = ()
    login_manager: bool = False

    def write(self, path: Path) -> None:
        """Write the spec as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> MachineSpec:
        """Read what ``write`` wrote."""
        raw = json.loads(path.read_text())
        return cls(**{**raw, "daemons": [Daemon(**daemon) for daemon in raw["daemons"]]})


class Machine:
    """Keeps the machine's programs running until it is asked to power off."""

    def __init__(self, spec: MachineSpec) -> None:
        self._spec = spec
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._power_off = asyncio.Event()

    async def run(self) -> None:
        """Run until powered off; the caller then ends the process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGTERM, self._power_off.set)
        keepers = []
        login_manager = None
        if self._spec.login_manager:
            from rig import logind  # needs dbus-fast, which the control plane does without

            # First of all: the kubelet looks for it once, when it starts.
            keepers.append(asyncio.create_task(self._keep(logind.bus())))
            login_manager = await logind.LoginManager.start()
        keepers += [asyncio.create_task(self._keep(daemon)) for daemon in self._spec.daemons]
        await self._power_off.wait()
        if login_manager is not None:
            _say("powering off; waiting for those who asked for a delay")
            await login_manager.shut_down()
        _say("power is off")
        for keeper in keepers:
            keeper.cancel()

    async def _keep(self, daemon: Daemon) -> None:
        while True:
            for address in daemon.after:
                while not await asyncio.to_thread(answers, address):  # noqa: ASYNC110 (nobody would tell)
                    await asyncio.sleep(0.05)
            status = await self._start(daemon)
            _say(f"{daemon.name} ended with status {status}; starting it again")
            await asyncio.sleep(_RESTART_AFTER_SECONDS)

    def _start(self, daemon: Daemon) -> asyncio.Future[int]:
        log = f"{self._spec.logs}/{daemon.name}.log"
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess: this process also inherits orphans, and must be the only one here that waits for children.
        pid = os.posix_spawn(
            daemon.argv[0],
            list(daemon.argv),
            {**os.environ, **daemon.env},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, output, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],
        )
        _say(f"{daemon.name} started")
        self._ended[pid] = asyncio.get_running_loop().create_future()
        return self._ended[pid]

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                ended = self._ended.pop(pid, None)
                if ended is not None and not ended.done():
                    ended.set_result(os.waitstatus_to_exitcode(status))


def _mount(spec: MachineSpec) -> None:
    for place, source in spec.binds.items():
        subprocess.run(["mount", "--bind", source, place], check=True)
    for place in spec.fresh:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> None:
    """Become the machine described by the file named on the command line."""
    spec = MachineSpec.read(Path(sys.argv[1]))
    _mount(spec)
    asyncio.run(Machine(spec).run())


if __name__ == "__main__":
    main()
