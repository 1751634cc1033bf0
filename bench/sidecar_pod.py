"""The sidecar's containers of one shard's pods, as processes on this machine, and what each of them takes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from integration.store.server import free_port
from resumable_sweep.contract import environment as names

MIB = 1 << 20
_READY_S = 60.0
_LOOK_S = 0.02
_TAIL = 2000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one container took: peak of memory (MiB), CPU time and time in all (seconds)."""

    peak_mib: float
    cpu_s: float
    wall_s: float


class Container:
    """A role of the sidecar that runs; what it logs is in `log`."""

    def __init__(
        self, role: str, environment: Mapping[str, str], *, log: Path, arguments: tuple[str, ...] = ()
    ) -> None:
        self._log = log
        self._began = time.perf_counter()
        self._peak_kib = 0
        self._code: int | None = None
        command = [sys.executable, "-m", "sweep_sidecar", role]
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=file)
        self.pid = self._process.pid
        # Not the peak that wait4 returns: a process that is spawned inherits that of the one that spawned it.
        threading.Thread(target=self._watch, name="peak", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; one that has stays there until `ended` is asked."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is None

    def ended(self) -> Cost:
        """Wait for its end, and return what it took.

        Raises
        ------
        RuntimeError
            Where it failed; the message has the end of its log.
        """
        _, status, used = os.wait4(self.pid, 0)
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        if code != 0:
            raise RuntimeError(f"{self._process.args!r} exited {code}: {self._log.read_text()[-_TAIL:]}")
        return Cost(
            peak_mib=self._peak_kib / 1024,
            cpu_s=used.ru_utime + used.ru_stime,
            wall_s=time.perf_counter() - self._began,
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def _watch(self) -> None:
        while (peak_kib := _peak_kib(self.pid)) is not None:
            self._peak_kib = max(self._peak_kib, peak_kib)
            time.sleep(_LOOK_S)


class Mirror(Container):
    """The mirror of one pod."""

    def __init__(self, environment: Mapping[str, str], *, log: Path) -> None:
        self._port = free_port()
        super().__init__("mirror", {**environment, names.PORT: str(self._port)}, log=log)

    def wait_until_healthy(self) -> float:
        """Wait until the experiment may start; return the seconds since the mirror was started."""
        until = self._began + _READY_S
        while self._status("/healthz") != 200:
            if not self.is_running or time.perf_counter() > until:
                raise RuntimeError(f"the mirror does not begin: {self._log.read_text()[-_TAIL:]}")
            time.sleep(0.01)
        return time.perf_counter() - self._began

    def flush(self) -> None:
        """Ask as the kubelet's hook does, until all that is there is stored."""
        while self._status("/flush") != 200:
            if not self.is_running:
                raise RuntimeError(f"the mirror has ended: {self._log.read_text()[-_TAIL:]}")
            time.sleep(0.1)

    def metrics(self) -> dict[str, float]:
        """Return its numbers, by metric and labels as they stand in the text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def sealed(self) -> Cost:
        """End it as the kubelet does once the experiment has ended."""
        self.flush()
        self.send(signal.SIGTERM)
        return self.ended()

    def _status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


class Pod:
    """One attempt of a run's only shard, with its snapshot directory below `folder`."""

    def __init__(
        self, folder: Path, url: str, environment: Mapping[str, str], *, attempt: int = 0, **variables: object
    ) -> None:
        self.snapshot = folder / f"snapshot-{attempt}"
        self.snapshot.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"sidecar-{attempt}.log"
        own: dict[str, Any] = {
            names.STORE_URL: url,
            names.RUN_ID: url.rpartition("/")[2],
            names.SHARDS: 1,
            names.SHARD: 0,
            names.ATTEMPT: attempt,
            names.POD_UID: f"pod-{attempt}",
            names.SNAPSHOT_DIR: self.snapshot,
            **variables,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("SWEEP_")}
        self.environment = {**others, **environment, **{name: str(value) for name, value in own.items()}}

    def restored(self) -> Cost:
        """Run the restore to its end."""
        with Container("restore", self.environment, log=self.log) as restore:
            return restore.ended()

    def mirror(self) -> Mirror:
        """Start the mirror."""
        return Mirror(self.environment, log=self.log)


def fill(folder: Path, *, count: int, size: int) -> None:
    """Write so many files of random bytes, `0000.bin` and so on, each under its name once it is whole."""
    for number in range(count):
        path = folder / f"{number:04d}.bin"
        staged = path.with_name(f"{path.name}.tmp")
        with staged.open("wb") as file:
            for begin in range(0, size, MIB):
                file.write(secrets.token_bytes(min(MIB, size - begin)))
        staged.replace(path)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_kib(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Of a process that has ended and is not waited for yet there is no memory.
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), None)
