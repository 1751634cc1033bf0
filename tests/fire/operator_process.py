"""The operator under fire: a process of its own that watches one namespace."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

from fire.operator_host import OperatorHost
from rig.api import wait_until

_READY_SECONDS = 60


class OperatorProcess:
    """One operator, which can be started again after its end.

    Parameters
    ----------
    kubeconfig:
        By which it reaches the API server.
    port:
        Where it listens, on loopback.
    namespaces:
        Those that it watches; none for all.
    flaw:
        How it is broken, see `fire.flaws`.
    """

    def __init__(
        self,
        host: OperatorHost,
        *,
        kubeconfig: Path,
        log: Path,
        port: int,
        namespaces: tuple[str, ...],
        flaw: str = "",
    ) -> None:
        self._host = host
        self._kubeconfig = kubeconfig
        self._log = log
        self._port = port
        self._namespaces = namespaces
        self._report_url = f"http://127.0.0.1:{port}"
        self._flaw = flaw
        self.pid = 0

    def report_to(self, url: str) -> None:
        """Have pods report there from the next start on."""
        self._report_url = url

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        variables = {
            "KUBECONFIG": str(self._kubeconfig),
            "RSWEEP_SIDECAR_IMAGE": "sidecar:test",
            "RSWEEP_PORT": str(self._port),
            "RSWEEP_REPORT_URL": self._report_url,
            "RSWEEP_WATCH_NAMESPACES": ",".join(self._namespaces),
        }
        self.pid = self._host.start(variables, log=self._log, flaw=self._flaw)

    def wait_ready(self) -> None:
        """Return once it says that it is ready."""
        wait_until(self.is_ready, what="the operator to be ready", seconds=_READY_SECONDS, every=0.05, clue=self.log)

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        pid = self.pid
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] if pid else ""
        except (FileNotFoundError, ProcessLookupError):
            # Gone before the file was opened, or between that and its being read.
            return self.pid == pid
        return state == "Z" and self.pid == pid

    def kill(self) -> None:
        """End it as the death of its node would."""
        if self.pid:
            pid, self.pid = self.pid, 0
            self._host.kill(pid)

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        pid, self.pid = self.pid, 0
        os.kill(pid, signal.SIGTERM)
        return self._host.wait(pid)

    def log(self) -> str:
        """Return the last it has said."""
        return self._log.read_text()[-4000:] if self._log.exists() else ""
