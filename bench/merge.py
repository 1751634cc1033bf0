"""Memory and time of merging a million results: in a pod, which has no disk for it, and by the command to a file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from resumable_sweep.contract.log_format import line_of
from sweep_sidecar import layout
from sweep_sidecar.content import BLOB_BYTES, store_blob
from sweep_sidecar.housekeeping import resolve
from sweep_sidecar.log.entry import Kind, Writer
from sweep_sidecar.log.generation import FileVersion, Generation
from sweep_sidecar.log.shard_log import ShardLog
from sweep_sidecar.store.local import LocalStore

_ITEMS = 1_000_000
_SHARDS = 4
_GOAL_MIB = 1024
_ROLE = """
import os, sys, tempfile
from sweep_sidecar.housekeeping import merge
from sweep_sidecar.settings import RunSettings
from sweep_sidecar.store import open_store
def nowhere():
    raise FileNotFoundError("a pod's root file system is read-only")
tempfile.gettempdir = nowhere
merge(open_store(os.environ["SWEEP_STORE_URL"]), RunSettings.from_environment(os.environ))
"""


def figures() -> list[dict[str, Any]]:
    """Write a run to a disk and merge it in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        root = Path(directory) / "run"
        # In a process of its own: what this one once held would count for its children too (man 2 getrusage).
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as aside:
            items_sha256 = aside.submit(_write_run, root).result()
        environment = {
            "SWEEP_STORE_URL": f"file://{root}",
            "SWEEP_RUN_ID": root.name,
            "SWEEP_SHARDS": str(_SHARDS),
            "SWEEP_ITEMS_SHA256": items_sha256,
        }
        store = [sys.executable, "-m", "sweep_sidecar", "store", "merge", f"file://{root}", "--provenance"]
        ways = {
            "role, no disk": [sys.executable, "-c", _ROLE],
            "command, jsonl": [*store, "-o", f"{directory}/out.jsonl"],
            "command, csv": [*store, "-o", f"{directory}/out.csv", "--format", "csv"],
        }
        rows = []
        for way, words in ways.items():
            seconds, mib = _measured(words, environment)
            rows.append(_row(f"{way}: memory of {_ITEMS} results", mib, "MiB", goal=_GOAL_MIB))
            rows.append(_row(f"{way}: time of {_ITEMS} results", seconds, "s", goal=None))
        return rows


def _measured(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    began = time.monotonic()
    process = subprocess.Popen(words, env={**os.environ, **environment})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} ended with {process.returncode}")
    return time.monotonic() - began, used.ru_maxrss / 1024


def _row(figure: str, value: float, unit: str, *, goal: float | None) -> dict[str, Any]:
    return {
        "figure": figure,
        "value": round(value, 1),
        "unit": unit,
        "peer": None,
        "goal": goal,
        "holds": goal is None or value <= goal,
    }


def _write_run(root: Path) -> str:
    store = LocalStore(root)
    resolved = resolve(store, "".join(f'{{"key":"item-{number:07d}"}}\n' for number in range(_ITEMS)))
    for shard in range(_SHARDS):
        data = b"".join(_log_lines(shard))
        pieces = (data[start : start + BLOB_BYTES] for start in range(0, len(data), BLOB_BYTES))
        version = FileVersion(
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            mode=0o644,
            segments=tuple(store_blob(store, piece, nonce=lambda: "n") for piece in pieces),
        )
        generation = Generation(files={"results.jsonl": version}, items_done=1, progress=("results.jsonl",))
        folder = layout.shard_folder("run", shard)
        log = ShardLog(store, folder, writer=Writer(0, "pod", "n"), clock=time.time)
        log.take({"run_id": "run", "shard": shard, "shards": _SHARDS, "items_sha256": resolved.sha256})
        log.append(Kind.BASE, {"generation": None, "skipped": []})
        seq = log.append(Kind.GEN, generation.to_body()).entry.seq
        log.append(Kind.COMPLETE, {"generation": seq, "proof": "items", "items": _ITEMS // _SHARDS})
    return resolved.sha256


def _log_lines(shard: int) -> Iterator[bytes]:
    yield line_of({"kind": "header", "schema_version": 2, "run_id": "run"})
    for number in range(shard, _ITEMS, _SHARDS):
        key = f"item-{number:07d}"
        yield line_of({"kind": "started", "at": 1.5, "key": key})
        result = {"loss": number / 7, "accuracy": number / 9, "name": "x" * 40}
        provenance = {"attempt": 1, "host": "node-1", "started": 1.5, "ended": 2.5}
        yield line_of({"kind": "done", "key": key, "result": result, **provenance})
