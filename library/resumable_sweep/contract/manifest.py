"""The manifest beside a checkpoint: `<file>.manifest.json` says what the file, or the directory, must hold."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resumable_sweep.contract.canonical import canonical_json

SCHEMA_VERSION = 1
SUFFIX = ".manifest.json"
_PENDING = f"{SUFFIX}.tmp.pending"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class FileOf:
    """A file of a directory: its path below it (with `/`), SHA-256 (hex) and size (bytes)."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """Size (bytes) and SHA-256 (hex) of a checkpoint, and what its writer wants to say besides.

    `files` is None for a file. For a directory it lists what is in it, `sha256` is `sha256_of_files` of that list and
    `size_bytes` the sum. `extra` is an object where this project wrote it, any JSON where others did.
    """

    sha256: str
    size_bytes: int
    extra: Any = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    files: tuple[FileOf, ...] | None = None

    def to_json(self) -> str:
        """Return the manifest as the text of its file.

        Raises
        ------
        TypeError, ValueError
            Where JSON has no form for `extra`.
        """
        fields: dict[str, Any] = {
            "schema_version": self.schema_version,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "extra": self.extra,
        }
        if self.files is not None:
            fields["files"] = _listed(self.files)
        # As it will be read back: the keys of `extra` are strings then, and sort as strings.
        fields = json.loads(json.dumps(fields))
        return json.dumps({**fields, "crc32": _crc32_of(fields)}, indent=2, sort_keys=True) + "\n"


def manifest_path(file: Path) -> Path:
    """Return where the manifest of `file` lies: beside it."""
    return file.with_name(file.name + SUFFIX)


def pending_path(file: Path) -> Path:
    """Return where the manifest of what will be `file` waits, under a name that no mirror takes for a result."""
    return file.with_name(f".{file.name}{_PENDING}")


def awaited_name(name: str) -> str | None:
    """Return the name of the checkpoint whose manifest waits under the name `name`, None where it is no such name."""
    return name[1 : -len(_PENDING)] if name.startswith(".") and name.endswith(_PENDING) else None


def parsed_manifest(text: str | bytes) -> Manifest:
    """Return the manifest that `text` holds, of whatever schema version: `unreadable` says whether it counts.

    Raises
    ------
    ValueError
        Where it is not a manifest, lacks a field, or does not fit its own checksum. One without a checksum is taken
        as it is: that of other programs has none.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"a manifest is a JSON object, not {type(fields).__name__}")
    missing = [name for name in ("sha256", "size_bytes") if name not in fields]
    if missing:
        raise ValueError(f"the manifest lacks {' and '.join(missing)}")
    said = fields.pop("crc32", None)
    try:
        manifest = Manifest(
            sha256=str(fields["sha256"]),
            size_bytes=int(fields["size_bytes"]),
            extra={} if fields.get("extra") is None else fields["extra"],
            schema_version=int(fields.get("schema_version", SCHEMA_VERSION)),
            files=_parsed_files(fields["files"]) if fields.get("files") is not None else None,
        )
    except (TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"a field of the manifest is not what it should be: {error}") from error
    # Of every version: else a flipped bit could turn a damaged manifest into one of a newer release.
    if said is not None and said != _crc32_of(fields):
        raise ValueError(f"the manifest does not fit its own checksum {said!r:.20}")
    return manifest


def unreadable(manifest: Manifest) -> str | None:
    """Return why a manifest of its schema version cannot be read by this release; None = it can.

    Read are this version and the one before; 1 is the first there was.
    """
    lowest = max(1, SCHEMA_VERSION - 1)
    if lowest <= manifest.schema_version <= SCHEMA_VERSION:
        return None
    readable = " or ".join(str(version) for version in range(lowest, SCHEMA_VERSION + 1))
    mend = "install a newer resumable-sweep" if manifest.schema_version > SCHEMA_VERSION else "write it anew"
    return f"its manifest has schema version {manifest.schema_version}, this release reads {readable}: {mend}"


def sha256_of_files(files: Iterable[FileOf]) -> str:
    """Return the digest of a directory: of the canonical JSON of its files as `[path, sha256, size]`, in order."""
    return hashlib.sha256(_bytes_of(_listed(sorted(files)))).hexdigest()


def sha256_of_file(path: Path) -> tuple[str, int]:
    """Return digest (hex) and size (bytes) of what `path` holds, read in pieces."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _listed(files: Iterable[FileOf]) -> list[list[Any]]:
    return [[file.path, file.sha256, file.size_bytes] for file in files]


def _parsed_files(listed: Any) -> tuple[FileOf, ...]:
    return tuple(FileOf(str(path), str(sha256), int(size)) for path, sha256, size in listed)


def _crc32_of(fields: dict[str, Any]) -> str:
    return f"{zlib.crc32(_bytes_of(fields)):08x}"


def _bytes_of(value: Any) -> bytes:
    # JSON can hold half of a surrogate pair, which UTF-8 cannot.
    return canonical_json(value).encode("utf-8", "surrogatepass")
