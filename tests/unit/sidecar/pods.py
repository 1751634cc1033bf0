"""A store, and the pods of one shard one after the other, each with a snapshot directory of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    Durable,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)
from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.report import Experiment, Report
from sweep_sidecar import layout
from sweep_sidecar.blobs import Moment
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import Restored, restored_attempt
from sweep_sidecar.settings import AttemptSettings
from unit.sidecar.memory_store import MemoryStore

HEADER = b'{"kind":"header","schema_version":1,"run_id":"run"}\n'
FOLDER = layout.shard_folder("run", 0)


def line(key: int) -> bytes:
    return json.dumps({"kind": "done", "key": key, "result": key}).encode() + b"\n"


def last_line(*keys: int) -> bytes:
    entry = {"kind": "complete", "total": len(keys), "keys_sha256": sha256_of_keys(keys)}
    return json.dumps(entry).encode() + b"\n"


def gmat(*statuses: str) -> bytes:
    """A manifest of gmat-sweep whose runs, counted from 0, ended like this."""
    header = {"gmat_sweep_version": "0.6.0", "run_count": len(statuses), "schema_version": 1, "script_sha256": "ab"}
    runs = [{"run_id": number, "status": status, "overrides": {}} for number, status in enumerate(statuses)]
    return "".join(json.dumps(each) + "\n" for each in [header, *runs]).encode()


def never(_: object = None) -> Experiment:
    raise AssertionError("nobody is to be asked")


class Cluster:
    """A store, and pods one after the other, each with a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[str, bytes] = {}
        self.created: dict[str, float] = {}
        self.time = 0.0
        self.store = self.new_store()
        self.items_sha256 = ""
        self.named = "results.jsonl"
        self.allow_drift = ""
        self.progress = ""
        self.completion = ""
        self.nonces = 0

    def new_store(self) -> MemoryStore:
        """Return the same store once more, as another process has it; its clock shows the `time`."""
        return MemoryStore(self.objects, created=self.created, clock=lambda: self.time)

    def moment(self) -> Moment:
        """Return the time on the clocks of a node, which are not those of the store."""
        return Moment(boot=self.time + 100.0, wall=self.time + 1e9)

    def nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def settings(self, attempt: int) -> AttemptSettings:
        snapshot = self.folder / f"pod-{attempt}"
        snapshot.mkdir(exist_ok=True)
        return AttemptSettings.from_environment(
            {
                "SWEEP_STORE_URL": "memory://run",
                "SWEEP_RUN_ID": "run",
                "SWEEP_SHARDS": "1",
                "SWEEP_SHARD": "0",
                "SWEEP_ATTEMPT": str(attempt),
                "SWEEP_POD_UID": f"pod-{attempt}",
                "SWEEP_SNAPSHOT_DIR": str(snapshot),
                "SWEEP_CHECKPOINT_FILE": self.named,
                "SWEEP_ITEMS_SHA256": self.items_sha256,
                "SWEEP_ALLOW_DRIFT": self.allow_drift,
                "SWEEP_PROGRESS": self.progress,
                "SWEEP_COMPLETION": self.completion,
            }
        )

    def restore(self, attempt: int) -> Restored:
        return restored_attempt(self.store, self.settings(attempt), nonce=self.nonce, clock=lambda: 1.0)

    def mirror(self, attempt: int, told: list[Report] | None = None) -> AttemptWriter:
        writer = AttemptWriter(
            self.new_store(),
            self.settings(attempt),
            nonce=self.nonce,
            clock=lambda: 1.0,
            tell=(told if told is not None else []).append,
            moment=self.moment,
        )
        writer.begin()
        return writer

    def pod(self, attempt: int) -> AttemptWriter:
        self.restore(attempt)
        return self.mirror(attempt)

    def append(self, attempt: int, data: bytes, path: str = "results.jsonl") -> None:
        with (self.folder / f"pod-{attempt}" / path).open("ab") as file:
            file.write(data)

    def ask(self, attempt: int) -> None:
        with requests_path(self.folder / f"pod-{attempt}").open("ab") as requests:
            requests.write(b".")

    def said(self, attempt: int) -> Acknowledgement:
        return parsed_acknowledgement(acknowledgement_path(self.folder / f"pod-{attempt}").read_bytes())

    def found_by_a_successor(self, attempt: int) -> dict[str, Durable]:
        """Return the files that an attempt would find now, without its taking the shard."""
        restored_attempt(MemoryStore(dict(self.objects)), self.settings(attempt), nonce=lambda: "s", clock=lambda: 1.0)
        folder = self.folder / f"pod-{attempt}"
        return {
            path.name: Durable(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in folder.iterdir()
            if path.is_file()
        }

    def sizes(self, attempt: int) -> dict[str, int]:
        return {path: durable.size_bytes for path, durable in self.said(attempt).files.items()}

    def kinds(self) -> list[str]:
        reader = LogReader(self.store, FOLDER)
        head = reader.head()
        return [] if head is None else [str(reader.read(seq).entry.kind) for seq in range(head.entry.seq + 1)]

    def last_body(self) -> dict[str, Any]:
        head = LogReader(self.store, FOLDER).head()
        assert head is not None
        return dict(head.entry.body)
