"""A generation: the files of a snapshot directory, each as the pieces it is made of."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from resumable_sweep.contract.environment import PRIVATE_FOLDER
from sweep_sidecar.log.entry import CheckpointCorrupt


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a file, and where its bytes are: in a blob, in this entry, or in an earlier entry of the same log.

    Exactly one of `blob` (key), `inline` (the bytes) and `seq` (the entry whose inline piece with this digest it is)
    is set. `tier` says how often pieces were merged into this one.
    """

    size: int
    sha256: str
    blob: str | None = None
    inline: bytes | None = None
    seq: int | None = None
    tier: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the segment as a log entry keeps it: inline bytes as `text` where they are UTF-8, else `base64`."""
        fields: dict[str, Any] = {"size": self.size, "sha256": self.sha256}
        if self.tier:
            fields["tier"] = self.tier
        if self.blob is not None:
            return {**fields, "blob": self.blob}
        if self.seq is not None:
            return {**fields, "seq": self.seq}
        assert self.inline is not None
        try:
            return {**fields, "text": self.inline.decode()}
        except UnicodeDecodeError:
            return {**fields, "base64": base64.b64encode(self.inline).decode()}

    def after_publishing(self, seq: int) -> Segment:
        """Return how later entries name this segment, once entry `seq` holds it."""
        return self if self.inline is None else replace(self, inline=None, seq=seq)


def inline_segment(data: bytes) -> Segment:
    """Return `data` as a segment that travels in the entry itself."""
    return Segment(size=len(data), sha256=hashlib.sha256(data).hexdigest(), inline=data)


@dataclass(frozen=True, kw_only=True)
class FileVersion:
    """A file's content (size in bytes, SHA-256 in hex), permission bits, and its segments in order."""

    size: int
    sha256: str
    mode: int
    segments: tuple[Segment, ...]

    def same_content(self, other: FileVersion | None) -> bool:
        """Return whether the other version has the same bytes and permissions, in whatever segments."""
        return other is not None and (self.size, self.sha256, self.mode) == (other.size, other.sha256, other.mode)

    def after_publishing(self, seq: int) -> FileVersion:
        """Return the version as later entries name it, once entry `seq` holds its inline segments."""
        segments = tuple(segment.after_publishing(seq) for segment in self.segments)
        return FileVersion(size=self.size, sha256=self.sha256, mode=self.mode, segments=segments)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Files by their path in the snapshot directory; `progress` names those whose records were counted."""

    files: Mapping[str, FileVersion]
    items_done: int
    progress: tuple[str, ...] = ()

    def to_body(self) -> dict[str, Any]:
        """Return the generation as the body of a `gen` entry."""
        return {
            "files": {
                path: {
                    "size": version.size,
                    "sha256": version.sha256,
                    "mode": version.mode,
                    "segments": [segment.to_json() for segment in version.segments],
                }
                for path, version in self.files.items()
            },
            "items_done": self.items_done,
            "progress": list(self.progress),
        }

    def after_publishing(self, seq: int) -> Generation:
        """Return the generation as later entries name it, once entry `seq` holds it."""
        files = {path: version.after_publishing(seq) for path, version in self.files.items()}
        return Generation(files=files, items_done=self.items_done, progress=self.progress)


def has_path(files: Iterable[str], path: str) -> bool:
    """Return whether `path` is one of the files, or a folder that holds one: checkpoints may be directories."""
    return any(file == path or file.startswith(f"{path}/") for file in files)


def parsed_generation(body: Mapping[str, Any], *, where: str, key: str = "") -> Generation:
    """Return the generation that the body of a `gen` entry holds.

    Raises
    ------
    CheckpointCorrupt
        Where it is none, or a path leads out of the snapshot directory; the message starts with `where`, the address of
        the entry whose key is `key`.
    """
    try:
        files = {_checked_path(path): _version(fields) for path, fields in body["files"].items()}
        return Generation(
            files=files, items_done=int(body["items_done"]), progress=tuple(str(path) for path in body["progress"])
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointCorrupt(f"{where} holds no generation: {error!r}", key=key) from error


def _checked_path(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or ".." in parts or parts[0] in ("/", PRIVATE_FOLDER):
        raise ValueError(f"{path!r} is no path inside a snapshot directory")
    return path


def _version(fields: Mapping[str, Any]) -> FileVersion:
    return FileVersion(
        size=int(fields["size"]),
        sha256=str(fields["sha256"]),
        mode=int(fields["mode"]) & 0o777,
        segments=tuple(_segment(segment) for segment in fields["segments"]),
    )


def _segment(fields: Mapping[str, Any]) -> Segment:
    segment = Segment(size=int(fields["size"]), sha256=str(fields["sha256"]), tier=int(fields.get("tier", 0)))
    if "blob" in fields:
        return replace(segment, blob=str(fields["blob"]))
    if "seq" in fields:
        return replace(segment, seq=int(fields["seq"]))
    data = fields["text"].encode() if "text" in fields else base64.b64decode(fields["base64"], validate=True)
    return replace(segment, inline=data)
