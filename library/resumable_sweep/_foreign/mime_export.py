"""Writing mime-engine's progress file, so that an unchanged mime-engine goes on from what this library has done.

Its reader knows two names, the file and the manifest, and refuses a pair that does not fit, but takes a file without a
manifest. So the manifest goes before the file is replaced, and comes back after it: at any moment mime-engine finds
the old pair, the old file alone, the new file alone, or the new pair. Meanwhile the new manifest lies ready under a
name of its own (`<file>.pending.manifest.json`) and the old one is kept with the old file (`<file>.previous`), so that
this library's own reader finds a manifest that vouches for the file at any moment, and an older state should the
newest be damaged later.
"""

# Files change through `os` alone, see resumable_sweep/_disk.py.
# ruff: noqa: PTH105, PTH108
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from resumable_sweep._disk import (
    copy_aside,
    corrupt_path,
    make_folder,
    naming,
    replace_whole,
    sync_folder,
    temporary_path,
    write_at,
)
from resumable_sweep._foreign.mime_progress import (
    END,
    START,
    manifest_text,
    mime_damage,
    pending_manifest_path,
    previous_path,
    vouches_exactly,
)
from resumable_sweep.contract.manifest import manifest_path, sha256_of_file

_CHUNK_BYTES = 1 << 20
_ENCODE = json.JSONEncoder(indent=1).encode


def write_mime_progress(path: Path, records: Iterable[tuple[Any, Any]]) -> Path | None:
    """Make `path` a progress file of the (key, result) pairs `records`, byte for byte as mime-engine writes it.

    The whole file is written each time: keep it for moments that are rare. One process at a time may do it.

    Returns
    -------
    Where a damaged file that was there is kept, None where there was none.

    Raises
    ------
    TypeError, ValueError
        Where a key or result is not JSON; nothing is changed then.
    OSError
        Where something could not be written; the state before is then still to be read.
    """
    make_folder(path.parent)
    temporary = temporary_path(path)
    try:
        manifest = _write(temporary, records)
        kept = _set_aside_damaged(path)
        if kept is None:
            _settle_manifest(path)
        # Only now: the one that is there may have been all that vouches for what a kill left here.
        replace_whole(pending_manifest_path(path), manifest)
        # What is damaged must not become the older state; and without its manifest mime-engine would believe it.
        if kept is None:
            _retire_manifest(path)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)
    os.replace(pending_manifest_path(path), manifest_path(path))
    sync_folder(path.parent)
    return kept


def _write(temporary: Path, records: Iterable[tuple[Any, Any]]) -> bytes:
    """Write the file's content to `temporary` and return its manifest's text."""
    digest, size, written = hashlib.sha256(), 0, 0
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        with naming(temporary):
            for count, piece in _pieces(records):
                digest.update(piece)
                write_at(file, piece, size)
                size += len(piece)
                written = count
            os.fsync(file)
    finally:
        os.close(file)
    return manifest_text(sha256=digest.hexdigest(), size_bytes=size, records=written)


def _pieces(records: Iterable[tuple[Any, Any]]) -> Iterator[tuple[int, bytes]]:
    """Yield the file in pieces, each with the number of records up to its end."""
    count = 0
    gathered = bytearray(START)
    for key, result in records:
        text = _ENCODE({"key": key, "result": result}).replace("\n", "\n  ")
        gathered += b",\n  " if count else b"\n  "
        gathered += text.encode()
        count += 1
        if len(gathered) >= _CHUNK_BYTES:
            yield count, bytes(gathered)
            gathered.clear()
    gathered += END if count else b"]\n}"
    yield count, bytes(gathered)


def _set_aside_damaged(path: Path) -> Path | None:
    if not path.exists() or mime_damage(path) is None:
        return None
    kept = corrupt_path(path)
    copy_aside(path, kept)
    return kept


def _settle_manifest(path: Path) -> None:
    """See that the manifest beside `path` is its own to the last byte, whatever a kill left there."""
    own = manifest_path(path)
    if not path.exists() or (own.exists() and vouches_exactly(own.read_bytes(), path)):
        return
    sha256, size_bytes = sha256_of_file(path)
    records = len(json.loads(path.read_bytes())["completed"])
    replace_whole(own, manifest_text(sha256=sha256, size_bytes=size_bytes, records=records))


def _retire_manifest(path: Path) -> None:
    """Take the manifest away from `path`, and keep both as the older state."""
    if not path.exists():
        return
    previous = previous_path(path)
    link = temporary_path(previous)
    _unlink(link)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        copy_aside(path, previous)
    else:
        os.replace(link, previous)
        # Where both are the same file already, after a kill, rename(2) does nothing, and leaves both names.
        _unlink(link)
    sync_folder(path.parent)
    os.replace(manifest_path(path), manifest_path(previous))
    sync_folder(path.parent)


def _unlink(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
