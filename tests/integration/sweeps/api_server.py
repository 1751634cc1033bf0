"""The API server of a control plane, to be frozen, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from rig.api import wait_until
from rig.control_plane import ControlPlane


class ApiServer:
    """One process, found by the port that it listens on. What it is started with is what it was started with before."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._api = control_plane.api
        port = f"--secure-port={control_plane.layout.api_port}"
        self._pid, self._argv = next(
            (pid, argv)
            for pid, argv in ((int(entry.name), _argv(entry)) for entry in Path("/proc").glob("[0-9]*"))
            if argv and argv[0].endswith("kube-apiserver") and port in argv
        )
        self._own: subprocess.Popen[bytes] | None = None

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        if self._own is not None:
            self._own.wait()

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)
        self._wait()

    def start(self) -> None:
        words = ["setpriv", "--pdeathsig", "KILL", *self._argv]
        self._own = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._pid = self._own.pid
        self._wait()

    def close(self) -> None:
        """End what was started here: the control plane knows nothing of it."""
        if self._own is not None:
            self._own.kill()
            self._own.wait()

    def _wait(self) -> None:
        wait_until(self._api.is_ready, what="the API server to be ready again", seconds=120)


def _argv(entry: Path) -> list[str]:
    try:
        return entry.joinpath("cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
