"""A run in a store on disk, whose shards wrote what a test wants, and which it may damage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep_sidecar import layout
from sweep_sidecar.capture.capturer import Capturer
from sweep_sidecar.content import store_blob
from sweep_sidecar.housekeeping import resolve
from sweep_sidecar.inspection.program import main
from sweep_sidecar.log.entry import Kind, Writer
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.shard_log import ShardLog
from sweep_sidecar.progress import Progress
from sweep_sidecar.store.local import LocalStore

HEADER = json.dumps({"kind": "header", "schema_version": 1, "run_id": "run"}) + "\n"
WRITTEN_AT = 1000.0
"""Unix seconds at which all entries were written."""


def done(key: object, result: object, **provenance: object) -> str:
    return json.dumps({"kind": "done", "key": key, "result": result, **provenance}) + "\n"


def skipped(key: object, why: str) -> str:
    return json.dumps({"kind": "skipped", "key": key, "why": why}) + "\n"


def failed(key: object, error: str) -> str:
    return json.dumps({"kind": "failed", "key": key, "error": error, "traceback": ""}) + "\n"


class RunOnDisk:
    """The run `run` of the sweep `sweep` in the namespace `ns`."""

    def __init__(self, folder: Path, *, shards: int = 1, items: Sequence[object] = ()) -> None:
        self.top = f"file://{folder}/store"
        self.url = f"{self.top}/ns/sweep/run"
        self.root = folder / "store" / "ns" / "sweep" / "run"
        self.store = LocalStore(self.root)
        self.shards = shards
        self.items_sha256 = resolve(self.store, json.dumps({"list": list(items)})).sha256 if items else ""
        self._folder = folder

    def attempt(
        self,
        shard: int,
        generations: Sequence[dict[str, str | bytes]],
        *,
        attempt: int = 0,
        base: int | None = None,
        end: Kind | None = Kind.COMPLETE,
        proof: str = "log",
        progress: Progress = "auto",
    ) -> list[int]:
        """Let an attempt write generations, each with just these files, and end; return where they stand."""
        log = ShardLog(
            self.store,
            layout.shard_folder("run", shard),
            writer=Writer(attempt, f"pod-{shard}-{attempt}", "n"),
            clock=lambda: WRITTEN_AT,
        )
        said = {"run_id": "run", "shard": shard, "shards": self.shards, "items_sha256": self.items_sha256}
        log.take(said)
        log.append(Kind.BASE, {"generation": base, "skipped": []})
        snapshot = self._folder / f"snapshot-{shard}-{attempt}"
        snapshot.mkdir()
        capturer = Capturer(snapshot, lambda data: store_blob(self.store, data, nonce=lambda: "x"), progress=progress)
        seqs = []
        for files in generations:
            for path, content in files.items():
                (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
                (snapshot / path).write_bytes(content.encode() if isinstance(content, str) else content)
            for path in snapshot.rglob("*"):
                if path.is_file() and path.relative_to(snapshot).as_posix() not in files:
                    path.unlink()
            look = capturer.look()
            generation = Generation(files=look.files, items_done=len(look.counted.settled), progress=look.progress)
            seqs.append(log.append(Kind.GEN, generation.to_body()).entry.seq)
            capturer.published(seqs[-1])
        if end is not None:
            log.append(end, {"generation": seqs[-1] if seqs else base, "proof": proof, "items": 0})
        return seqs

    def entry(self, shard: int, seq: int) -> Path:
        """Return the file of a log entry."""
        return self.root / layout.entry_key(layout.shard_folder("run", shard), seq)

    def blobs(self) -> list[Path]:
        """Return the files of all blobs."""
        return sorted((self.root / "blobs").iterdir())

    def objects(self) -> dict[str, bytes]:
        """Return all that lies in the store."""
        return {found.key: self.store.get(found.key) for found in self.store.list("")}

    def command(self, *words: str, at: float = WRITTEN_AT) -> int:
        """Run `resumable-sweep store` and return its exit code."""
        return main(words, clock=lambda: at)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parsed_lines(text: str | bytes) -> list[Any]:
    """Return what the lines of a JSON Lines text hold."""
    return [json.loads(line) for line in text.splitlines()]
