"""The operator as a process of its own, and what it costs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from bench.operator_api import Calls, calls_in

_TICKS = os.sysconf("SC_CLK_TCK")


class Operator:
    """One operator against one API server. Its environment may be added to."""

    def __init__(self, kubeconfig: Path, log: Path, **variables: str) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "RSWEEP_SIDECAR_IMAGE": "sidecar:bench",
            "RSWEEP_PORT": str(self._port),
            "RSWEEP_REPORT_URL": self.url,
            **variables,
        }

    @property
    def url(self) -> str:
        """Where it takes reports."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> float:
        """Start it and return the seconds until it says that it is ready."""
        started = time.monotonic()
        with self._log.open("ab") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "sweep_operator"]
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)  # noqa: ASYNC220
        async with aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                if self._process.poll() is not None:
                    raise RuntimeError(f"the operator has ended:\n{self._log.read_text()[-2000:]}")
                if time.monotonic() - started > 120:
                    raise RuntimeError(f"the operator is not ready after 120 s:\n{self._log.read_text()[-2000:]}")
                await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait(60)
            self._process = None

    @property
    def _folder(self) -> Path:
        assert self._process is not None
        return Path("/proc") / str(self._process.pid)

    async def calls(self) -> Calls:
        """Return what it has asked of the API server since it was started."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            return calls_in(await answer.text())

    def cpu_s(self) -> float:
        """Return the processor seconds that it has used."""
        cells = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(cells[11]) + int(cells[12])) / _TICKS

    def memory_mib(self, *, peak: bool = False) -> float:
        """Return its resident set, as it is or at its highest."""
        field = "VmHWM" if peak else "VmRSS"
        found = re.search(rf"{field}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    async def cpu_share(self, seconds: float) -> float:
        """Return the share of one core that it uses in the next seconds, in percent."""
        used, began = self.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        return 100 * (self.cpu_s() - used) / (time.monotonic() - began)
