"""What the sidecar's containers cost: memory, CPU time and wait of `restore` and `mirror`, in processes of their own.

The store is fake-gcs-server on loopback, the client gcsfs, as in a pod that stores on Google Cloud. Memory is the peak
of the resident set as the kernel counts it, which is what a container's limit is held against, but for the page cache.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.store.gcs_server import Emulator
from integration.store.server import free_port
from resumable_sweep.contract import environment as names
from rig.progress import say

MIB = 1 << 20
_CHECKPOINTS = {
    "nothing": (0, 0),
    "1 GiB in one file": (1, 1024 * MIB),
    "1 GiB in 1,000 files": (1000, 1024 * MIB // 1000),
}
_READY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """What one container took: peak of memory (MiB), CPU time and time in all (seconds)."""

    peak_mib: float
    cpu_s: float
    wall_s: float


def figures() -> list[dict[str, Any]]:
    """Let a mirror store each checkpoint and a restore bring it back; no goals."""
    rows = []
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-", dir="build/bench") as directory:
        folder = Path(directory).resolve()
        server = Emulator(folder / "server")
        server.start()
        try:
            for number, (what, (count, size)) in enumerate(_CHECKPOINTS.items()):
                say(f"  {what}")
                bucket = server.make_bucket()
                run = _Run(folder / str(number), f"gs://{bucket}/run", server.environment(server.url, bucket=bucket))
                fresh = run.restore(0)
                run.fill(0, count=count, size=size)
                ready_s, mirrored = run.mirror(0)
                back = run.restore(1)
                run.check(1, count=count, size=size)
                rows += _rows(f"restore {what}", back if count else fresh)
                rows += _rows(f"mirror {what}", mirrored)
                if not count:
                    rows.append(_row("mirror: begun and healthy after", ready_s, "s"))
        finally:
            server.stop()
    return rows


class _Run:
    """One shard's pods, one after the other."""

    def __init__(self, folder: Path, url: str, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment, names.STORE_URL: url, names.RUN_ID: "run", names.SHARDS: "1"}

    def fill(self, attempt: int, *, count: int, size: int) -> None:
        for number in range(count):
            with (self._snapshot(attempt) / f"{number:04d}.bin").open("wb") as file:
                for begin in range(0, size, MIB):
                    file.write(secrets.token_bytes(min(MIB, size - begin)))

    def check(self, attempt: int, *, count: int, size: int) -> None:
        found = [path.stat().st_size for path in self._snapshot(attempt).glob("*.bin")]
        if found != [size] * count:
            raise RuntimeError(f"{len(found)} files came back, not {count} of {size} bytes")

    def restore(self, attempt: int) -> _Cost:
        return self._ended(self._start("restore", attempt), time.perf_counter())

    def mirror(self, attempt: int) -> tuple[float, _Cost]:
        port = free_port()
        began = time.perf_counter()
        process = self._start("mirror", attempt, port=port)
        until = began + _READY_S
        while _status(port, "/healthz") != 200:
            if process.poll() is not None or time.perf_counter() > until:
                raise RuntimeError("the mirror does not begin")
            time.sleep(0.01)
        ready_s = time.perf_counter() - began
        while _status(port, "/flush") != 200:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        return ready_s, self._ended(process, began)

    def _start(self, role: str, attempt: int, *, port: int = 0) -> subprocess.Popen[bytes]:
        own = {
            names.SHARD: "0",
            names.ATTEMPT: str(attempt),
            names.POD_UID: f"pod-{attempt}",
            names.SNAPSHOT_DIR: str(self._snapshot(attempt)),
            names.PORT: str(port),
        }
        command = [sys.executable, "-m", "sweep_sidecar", role]
        return subprocess.Popen(
            command, env={**self._environment, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _ended(self, process: subprocess.Popen[bytes], began: float) -> _Cost:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{process.args!r} exited {process.returncode}")
        return _Cost(
            peak_mib=used.ru_maxrss / 1024,
            cpu_s=used.ru_utime + used.ru_stime,
            wall_s=time.perf_counter() - began,
        )

    def _snapshot(self, attempt: int) -> Path:
        folder = self._folder / str(attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def _rows(what: str, cost: _Cost) -> list[dict[str, Any]]:
    return [
        _row(f"{what}: memory", cost.peak_mib, "MiB"),
        _row(f"{what}: CPU time", cost.cpu_s, "s"),
        _row(f"{what}: in all", cost.wall_s, "s"),
    ]


def _row(figure: str, value: float, unit: str) -> dict[str, Any]:
    return {"figure": figure, "value": round(value, 2), "unit": unit, "peer": None, "goal": None, "holds": True}
