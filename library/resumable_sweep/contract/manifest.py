"""The manifest beside a checkpoint: `<file>.manifest.json` says what the file must hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
SUFFIX = ".manifest.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """Size (bytes) and SHA-256 (hex) of a checkpoint file, and what its writer wants to say besides."""

    sha256: str
    size_bytes: int
    extra: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the manifest as the text of its file."""
        fields = {
            "schema_version": self.schema_version,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "extra": self.extra,
        }
        return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def manifest_path(file: Path) -> Path:
    """Return where the manifest of `file` lies: beside it."""
    return file.with_name(file.name + SUFFIX)


def parsed_manifest(text: str | bytes) -> Manifest:
    """Return the manifest that `text` holds.

    Raises
    ------
    ValueError
        Where it is not a manifest, or lacks a field.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"a manifest is a JSON object, not {type(fields).__name__}")
    missing = [name for name in ("sha256", "size_bytes") if name not in fields]
    if missing:
        raise ValueError(f"the manifest lacks {' and '.join(missing)}")
    return Manifest(
        sha256=str(fields["sha256"]),
        size_bytes=int(fields["size_bytes"]),
        extra=dict(fields.get("extra") or {}),
        schema_version=int(fields.get("schema_version", SCHEMA_VERSION)),
    )


def sha256_of_file(path: Path) -> tuple[str, int]:
    """Return digest (hex) and size (bytes) of what `path` holds, read in pieces."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
