"""What the engines of the store cost: memory, latency of a small create, throughput of blobs, time past a deadline.

The same calls go to the same server, a process each, one engine after the other. Servers are those of the tests
(fake-gcs-server, moto, Azurite), on loopback: what differs between two rows of one server is the engine alone, while
rows of different servers cannot be compared. Memory is the resident set of the client's process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from integration.store.azure_server import AzureServer
from integration.store.gcs_server import Emulator
from integration.store.meddler import Fate, Meddler
from integration.store.s3_server import S3Server
from integration.store.server import Server

_SERVERS: dict[str, tuple[type[Server], tuple[str, ...]]] = {
    "gs": (Emulator, ("",)),
    "s3": (S3Server, ("", "obstore")),
    "az": (AzureServer, ("", "obstore")),
}
_DEFAULT_ENGINES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}
_PROGRAM = """
import json, os, statistics, sys, time
from sweep_sidecar.store import Unreachable, open_store
url, silent_environment = sys.argv[1], json.loads(sys.argv[2])

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

found = {"python": resident_mib()}
store = open_store(url, deadline_s=60)
store.create("first", b"x")
found["after the first create"] = resident_mib()
taken = []
for number in range(100):
    began = time.perf_counter()
    store.create(f"small/{number}", b"x" * 500)
    taken.append(time.perf_counter() - began)
found["small create"] = statistics.median(taken) * 1000
blobs = [os.urandom(8 << 20) for _ in range(4)]
before = resident_mib()
began = time.perf_counter()
for number in range(64):
    store.create(f"blobs/{number}", blobs[number % 4])
found["put"] = 512 / (time.perf_counter() - began)
found["more after 64 blobs"] = resident_mib() - before
began = time.perf_counter()
for number in range(64):
    assert store.get(f"blobs/{number}") == blobs[number % 4]
found["get"] = 512 / (time.perf_counter() - began)
os.environ.update(silent_environment)
store = open_store(url, deadline_s=2)
began = time.perf_counter()
try:
    store.list("")
except Unreachable:
    found["past a deadline of 2 s"] = (time.perf_counter() - began - 2) * 1000
print(json.dumps(found))
"""
_UNITS = {"small create": "ms", "put": "MiB/s", "get": "MiB/s", "past a deadline of 2 s": "ms"}


def figures() -> list[dict[str, Any]]:
    """Measure every engine on every server that it reaches; no goals."""
    rows = []
    for scheme, (kind, engines) in _SERVERS.items():
        with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
            server = kind(Path(directory))
            server.start()
            meddler = Meddler(server.port)
            meddler.fate = lambda method, path: Fate.SILENT
            try:
                for engine in engines:
                    for name, value in _measured(server, meddler, engine).items():
                        rows.append(_row(f"{scheme} by {engine or _DEFAULT_ENGINES[scheme]}: {name}", value, name))
            finally:
                meddler.stop()
                server.stop()
    return rows


def _measured(server: Server, meddler: Meddler, engine: str) -> dict[str, float]:
    bucket = server.make_bucket()
    silent = server.environment(meddler.url, bucket=bucket)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, f"{server.scheme}://{bucket}/run", json.dumps(silent)],
        env={**os.environ, **server.environment(server.url, bucket=bucket), "SWEEP_STORE_ENGINE": engine},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _row(figure: str, value: float, name: str) -> dict[str, Any]:
    unit = _UNITS.get(name, "MiB")
    return {"figure": figure, "value": round(value, 1), "unit": unit, "peer": None, "goal": None, "holds": True}
