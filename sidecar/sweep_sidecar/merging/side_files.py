"""Results that the library has put into files beside its log: fetched and checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep_sidecar.content import ContentReader
from sweep_sidecar.log.entry import CheckpointCorrupt
from sweep_sidecar.log.generation import FileVersion, Generation
from sweep_sidecar.merging.records import Records

FILE_TAG = "$sweep.file"
"""The one field of a JSON object that stands for such a file in a result, as the library writes it."""


def write_side_files(
    reader: ContentReader, generation: Generation, records: Records, *, shard: int, folder: Path
) -> int:
    """Write each file that a shard's results name to `folder`, under its own name, and return how many there are.

    The name is the digest of what the file holds, with a suffix for its kind: so files of several logs go together.

    Raises
    ------
    CheckpointCorrupt
        Where the generation lacks such a file, or has another one under its name.
    Unreachable, OSError
    """
    stored = {Path(path).name: (path, version) for path, version in generation.files.items()}
    written: set[str] = set()
    for line in records.results_with(f'"{FILE_TAG}"', shard=shard):
        record = json.loads(line)
        for tag in _tags_in(record["result"]):
            name, version = _named(tag, stored, key=record["key"])
            if name in written:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            reader.write_file(version, folder / name, staged=folder / f".{name}.tmp")
            written.add(name)
    return len(written)


def _tags_in(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if FILE_TAG in part:
                yield part[FILE_TAG]
            else:
                waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _named(tag: Any, stored: dict[str, tuple[str, FileVersion]], *, key: Any) -> tuple[str, FileVersion]:
    try:
        # The last part alone: a path of a result must not lead anywhere else than into the folder.
        name, sha256 = str(tag["path"]).rpartition("/")[2], str(tag["sha256"])
    except (KeyError, TypeError) as error:
        raise CheckpointCorrupt(f"the result of item {key!r} names a file by {tag!r:.200}: {error!r}") from error
    if name not in stored:
        raise CheckpointCorrupt(f"the result of item {key!r} is in the file {tag['path']!r}, which is not stored")
    path, version = stored[name]
    if version.sha256 != sha256:
        raise CheckpointCorrupt(
            f"{path} has sha256 {version.sha256}, but the result of item {key!r} is in one with {sha256}"
        )
    return name, version
