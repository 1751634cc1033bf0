"""The operator as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from resumable_sweep.contract.report import Report
from rig.api import wait_until


class OperatorProcess:
    """The operator under test; `told` are variables of its environment."""

    def __init__(self, kubeconfig: Path, log: Path, **told: str) -> None:
        self._kubeconfig = kubeconfig
        self._log = log
        self._told = told
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "RSWEEP_SIDECAR_IMAGE": "sidecar:test",
            "RSWEEP_PORT": str(self.port),
            "RSWEEP_REPORT_URL": f"http://127.0.0.1:{self.port}",
            **self._told,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweep_operator"], env=environment, stdout=log, stderr=log
            )
        wait_until(self._is_ready, what="the operator to be ready", seconds=30)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def complaints(self) -> str:
        """Return what keeps it from being ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return "" if answer.status == 200 else str(answer.status)
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def leads(self) -> bool:
        return "\nresumable_sweep_leader 1.0" in self.metrics()

    def end(self, by: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(by)
        return self._process.wait(30)

    def push(self, token: str, report: Report) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/report",
            data=report.to_json().encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {}

    def log(self) -> str:
        return self._log.read_text()

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
