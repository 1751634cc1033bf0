"""Progress files of mime-engine: `<out>.progress.json`, one JSON object of all results, and the manifest beside it.

The format is that of mime-engine 0.2.0 (mime/data/sweep_resume.py): `{"completed": [{"key", "result"}, ...]}`, indented
by one. That package replaces the file in a single step and only then writes the manifest, not in a single step. So a
process that was killed leaves a good file beside a manifest that is one record behind, empty or torn; its own reader
refuses such a pair, this one does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resumable_sweep.contract.log_format import DONE, LogInvalid
from resumable_sweep.contract.manifest import SCHEMA_VERSION, Manifest, manifest_path, parsed_manifest, sha256_of_file

SUFFIX = ".progress.json"
PREVIOUS = ".previous"
PENDING = ".pending"
START = b'{\n "completed": ['
END = b"\n ]\n}"
_KIND = "sweep_progress"
_HEAD = re.compile(rb'\s*\{\s*"completed"\s*:')
_RECORD_END = re.compile(rb"\n  \}(?=,?\n)")
"""The end of a record: nothing inside of one stands so far to the left, and strings hold no newlines."""


def progress_path(out: str | os.PathLike[str]) -> Path:
    """Return where mime-engine keeps the progress of the sweep whose output is `out`."""
    return Path(os.fspath(out) + SUFFIX)


def previous_path(path: Path) -> Path:
    """Return where the state before the newest is kept; its manifest lies beside it."""
    return path.with_name(path.name + PREVIOUS)


def pending_manifest_path(path: Path) -> Path:
    """Return where the manifest of a file lies that is about to be put in place."""
    return manifest_path(path.with_name(path.name + PENDING))


def is_mime_progress(head: bytes) -> bool:
    """Return whether a file that starts with `head` is such a progress file."""
    return _HEAD.match(head) is not None


def is_said_to_be_mime_progress(path: Path) -> bool:
    """Return whether the manifest beside `path` is that of a progress file: the file itself may be past recognition."""
    text = _content(manifest_path(path))
    stated = None if text is None else manifest_in(text)
    return stated is not None and isinstance(stated.extra, dict) and stated.extra.get("kind") == _KIND


def mime_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every record as an entry of kind done; times, attempt and host are null, for mime-engine keeps none.

    Raises
    ------
    LogInvalid
        Where the file is damaged, be it that it only contradicts its manifest; nothing was yielded then.
    """
    damage = mime_damage(path)
    if damage is not None:
        raise LogInvalid(damage)
    for record in _records(path):
        yield {
            "kind": DONE,
            "key": record["key"],
            "result": record["result"],
            "attempt": None,
            "host": None,
            "started": None,
            "ended": None,
        }


def mime_damage(path: Path) -> str | None:
    """Return why the progress file at `path` cannot be trusted, None where it can.

    It can if one of the manifests beside it vouches for it: its own, or those that `write_mime_progress` leaves where
    it is cut off. Where there never was a manifest the file need only be whole.
    """
    own, pending, previous = (
        _content(place)
        for place in (manifest_path(path), pending_manifest_path(path), manifest_path(previous_path(path)))
    )
    if any(text is not None and vouches_exactly(text, path) for text in (own, pending, previous)):
        return None
    if own is None and pending is not None:
        return f"{path.name} is none of those that the manifests beside it speak of"
    if own is not None and not vouches_in_part(own, path.read_bytes()):
        return f"{path.name} is not what its manifest says"
    try:
        _records(path)
    except LogInvalid as error:
        return str(error)
    return None


def vouches_exactly(manifest: bytes, path: Path) -> bool:
    """Return whether `manifest` is that of the file at `path`, to the last byte."""
    stated = manifest_in(manifest)
    return stated is not None and sha256_of_file(path) == (stated.sha256, stated.size_bytes)


def vouches_in_part(manifest: bytes, data: bytes) -> bool:
    """Return whether `manifest` is one that mime-engine, killed at its worst, leaves beside a good file of `data`.

    Either it is that of the file's first records, or it is the torn start (or nothing) of the file's own.
    """
    if not data.startswith(START):
        return False
    stated = manifest_in(manifest)
    if stated is None:
        count = sum(1 for _ in _RECORD_END.finditer(data))
        digest = hashlib.sha256(data).hexdigest()
        return manifest_text(sha256=digest, size_bytes=len(data), records=count).startswith(manifest)
    wanted = stated.extra.get("n_records") if isinstance(stated.extra, dict) else None
    ends = enumerate((match.end() for match in _RECORD_END.finditer(data)), start=1)
    end = next((end for count, end in ends if count == wanted), None)
    if end is None or end + len(END) != stated.size_bytes:
        return False
    digest_of_first = hashlib.sha256(memoryview(data)[:end])
    digest_of_first.update(END)
    return digest_of_first.hexdigest() == stated.sha256


def manifest_in(text: bytes) -> Manifest | None:
    """Return the manifest that `text` holds, None where it holds none."""
    try:
        return parsed_manifest(text)
    except ValueError:
        return None


def manifest_text(*, sha256: str, size_bytes: int, records: int) -> bytes:
    """Return the manifest of a progress file, byte for byte as mime-engine has it written by MADDENING 0.2."""
    fields = {
        "schema_version": SCHEMA_VERSION,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "extra": {"kind": _KIND, "n_records": records},
    }
    return json.dumps(fields, indent=2).encode()


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        records = json.loads(path.read_bytes())["completed"]
    except (ValueError, TypeError, KeyError) as error:
        raise LogInvalid(f"{path} is a progress file of mime-engine that cannot be read: {error}") from error
    if not isinstance(records, list):
        raise LogInvalid(f'{path}: "completed" must be a list of records, not {type(records).__name__}')
    for place, record in enumerate(records):
        if not isinstance(record, dict) or not record.keys() >= {"key", "result"}:
            raise LogInvalid(f"{path}: record {place} is not an object with key and result: {record!r:.80}")
    return records


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
