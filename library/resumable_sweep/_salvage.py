"""A damaged log: the file is kept as it is under another name, and what can be trusted of it goes on."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._disk import copy_aside, corrupt_path, naming, sync_folder, temporary_path, write_at
from resumable_sweep._scan import Scan
from resumable_sweep.contract.log_format import HEADER, line_of
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class Salvaged:
    """What became of a damaged log: its copy, what was wrong, and whether anything of it could be kept."""

    kept_as: Path
    reasons: tuple[str, ...]
    kept: bool

    @property
    def reason(self) -> str:
        """The first few of the reasons as one sentence."""
        more = len(self.reasons) - 3
        return "; ".join(self.reasons[:3]) + (f"; and {more} more" if more > 0 else "")


def salvaged_log(path: Path, file: int, found: Scan) -> tuple[int, Salvaged]:
    """Replace the log at `path`, open and locked as `file`, by one that holds its good lines only.

    Returns the new log's descriptor, which is locked as well; `file` is left open. Where the header is lost, and the
    manifest does not have it either, nobody can say whose results these are: then none is kept.
    """
    kept_as = corrupt_path(path)
    copy_aside(path, kept_as)
    header, ranges = found.header, _good_ranges(found)
    if not header:
        header = header_of_manifest(path)
        ranges = ranges if header else []
    temporary = temporary_path(path)
    new = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        # Before anybody can see it: nobody else must ever hold the log in between.
        fcntl.flock(new, fcntl.LOCK_EX)
        with naming(temporary):
            end = 0
            if not found.header and header:
                line = line_of({**header, "kind": HEADER})
                write_at(new, line, 0)
                end = len(line)
            for start, stop in ranges:
                while start < stop:
                    piece = os.pread(file, min(_CHUNK_BYTES, stop - start), start)
                    if not piece:
                        break
                    write_at(new, piece, end)
                    start, end = start + len(piece), end + len(piece)
            os.fsync(new)
        temporary.replace(path)
    except BaseException:
        os.close(new)
        raise
    sync_folder(path.parent)
    return new, Salvaged(kept_as, tuple(damage.reason for damage in found.damaged), bool(ranges))


def header_of_manifest(path: Path) -> dict[str, Any]:
    """Return the header that the manifest of the log at `path` repeats, {} where there is none."""
    try:
        header = parsed_manifest(manifest_path(path).read_bytes()).extra.get("header")
    except (OSError, ValueError, TypeError):
        return {}
    return header if isinstance(header, dict) and type(header.get("schema_version")) is int else {}


def _good_ranges(found: Scan) -> list[tuple[int, int]]:
    ranges, start = [], 0
    for damage in found.damaged:
        if damage.offset > start:
            ranges.append((start, damage.offset))
        start = damage.end
    if found.end > start:
        ranges.append((start, found.end))
    return ranges
