"""A snapshot directory with a store: what a capturer takes of the one, and what comes back out of the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.manifest import Manifest, sha256_of_file
from sweep_sidecar.capture.capturer import Capturer, Look
from sweep_sidecar.content import ContentReader, store_blob
from sweep_sidecar.log.entry import Kind, Writer
from sweep_sidecar.log.generation import Generation, Segment, parsed_generation
from sweep_sidecar.log.shard_log import ShardLog
from unit.sidecar.memory_store import MemoryStore

HEADER = b'{"kind":"header","schema_version":1,"run_id":"r"}\n'
LONG_AFTER = 1 << 62
"""A time of day at which every file was written long ago."""


def line(key: int | str, result: object = 0) -> bytes:
    return json.dumps({"kind": "done", "key": key, "result": result}).encode() + b"\n"


def keys(*names: int | str) -> frozenset[str]:
    return frozenset(identity(name) for name in names)


class Shard:
    """A snapshot directory, a store, and a log to publish looks to."""

    def __init__(
        self,
        root: Path,
        objects: dict[str, bytes] | None = None,
        *,
        clock_ns: Callable[[], int] = lambda: LONG_AFTER,
        **options: Any,
    ) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self._clock_ns = clock_ns
        self._options = options
        self.store = MemoryStore(objects)
        self.log = ShardLog(self.store, "abcd-shard-00000", writer=Writer(1, "pod", "n"), clock=lambda: 0.0)
        if objects is None:
            self.log.take({})
            self.log.append(Kind.BASE, {"generation": None, "skipped": []})
        else:
            self.log.follow(self.log.head())
        self.blobs: list[int] = []
        self.capturer = self.new_capturer()

    def new_capturer(self) -> Capturer:
        def put(data: bytes) -> Segment:
            self.blobs.append(len(data))
            return store_blob(self.store, data, nonce=lambda: "nonce")

        return Capturer(self.root, put, clock_ns=self._clock_ns, **self._options)

    def write(self, path: str, data: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name("staged.tmp")
        staged.write_bytes(data)
        staged.replace(target)

    def append(self, path: str, data: bytes) -> None:
        with (self.root / path).open("ab") as file:
            file.write(data)

    def write_pair(self, path: str, data: bytes) -> None:
        self.write(path, data)
        digest, size = sha256_of_file(self.root / path)
        self.write(path + ".manifest.json", Manifest(digest, size).to_json().encode())

    def publish(self, look: Look) -> int:
        generation = Generation(files=look.files, items_done=len(look.counted.keys), progress=look.progress)
        seq = self.log.append(Kind.GEN, generation.to_body()).entry.seq
        self.capturer.published(seq)
        return seq

    def stored(self) -> dict[str, bytes]:
        """What a restore would bring back."""
        found = self.log.newest_generation(self.log.head())
        assert found is not None
        generation = parsed_generation(found.entry.body, where="here")
        reader = ContentReader(self.log)
        return {path: reader.content(version, what=path) for path, version in generation.files.items()}
