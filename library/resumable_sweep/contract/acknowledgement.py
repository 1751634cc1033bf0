"""What the sidecar tells the program in the pod: how much of its files is in the store, and is durable thereby.

Both files lie in the sidecar's own folder of the snapshot directory. The sidecar replaces the acknowledgement as a
whole; the program asks for a look at once by appending a byte to the requests. Their number, and no clock, then says
which looks began after a request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resumable_sweep.contract.environment import PRIVATE_FOLDER

SCHEMA_VERSION = 1
FILE = "ack.json"
REQUESTS = "flush"


class AcknowledgementNewer(ValueError):
    """The sidecar writes a newer schema than this reader knows; the message names both and the mend."""


@dataclass(frozen=True)
class Durable:
    """A file as the store has it: size (bytes) and SHA-256 (hex); of a log that has grown since, of its beginning."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What is in the store when this is written, and why not more.

    Parameters
    ----------
    attempt:
        Whose sidecar speaks.
    generation:
        Sequence number of the newest generation in the store, None where there is none.
    files:
        What that generation holds, by path relative to the snapshot directory.
    requests:
        Size of the requests' file, in bytes, before the newest look began that came to its end. Whatever was on disk
        before the byte of this number was appended, that look has seen.
    refused:
        CamelCase reason for which that look must not be stored, empty where it was (or there was nothing new).
    stopped:
        CamelCase reason for which nothing more will be stored, empty while the sidecar goes on.
    message:
        A sentence for people on either, or on a store that does not answer; empty where all is well.
    """

    attempt: int
    generation: int | None
    files: Mapping[str, Durable] = field(default_factory=dict)
    requests: int = 0
    refused: str = ""
    stopped: str = ""
    message: str = ""

    def to_json(self) -> str:
        """Return the acknowledgement as the text of its file."""
        fields = {
            "schema_version": SCHEMA_VERSION,
            "attempt": self.attempt,
            "generation": self.generation,
            "files": {
                path: {"size_bytes": durable.size_bytes, "sha256": durable.sha256}
                for path, durable in self.files.items()
            },
            "requests": self.requests,
            "refused": self.refused,
            "stopped": self.stopped,
            "message": self.message,
        }
        return json.dumps(fields) + "\n"


def acknowledgement_path(snapshot_dir: Path) -> Path:
    """Return where the sidecar's acknowledgement lies."""
    return snapshot_dir / PRIVATE_FOLDER / FILE


def requests_path(snapshot_dir: Path) -> Path:
    """Return the file to which the program appends a byte where it wants a look at once."""
    return snapshot_dir / PRIVATE_FOLDER / REQUESTS


def parsed_acknowledgement(text: str | bytes) -> Acknowledgement:
    """Return the acknowledgement that `text` holds; fields of a later version are passed over.

    Raises
    ------
    AcknowledgementNewer
    ValueError
        Where it is none, or only a part of one.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"an acknowledgement is a JSON object, not {type(fields).__name__}")
    try:
        version = _whole_number(fields, "schema_version")
        if version > SCHEMA_VERSION:
            raise AcknowledgementNewer(
                f"the sidecar's acknowledgement has schema version {version}, this library knows {SCHEMA_VERSION} at "
                "most: install a newer resumable-sweep"
            )
        return Acknowledgement(
            attempt=_whole_number(fields, "attempt"),
            generation=None if fields["generation"] is None else _whole_number(fields, "generation"),
            files={
                str(path): Durable(_whole_number(durable, "size_bytes"), str(durable["sha256"]))
                for path, durable in fields["files"].items()
            },
            requests=_whole_number(fields, "requests"),
            refused=str(fields["refused"]),
            stopped=str(fields["stopped"]),
            message=str(fields["message"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the acknowledgement lacks or garbles a field: {error!r}") from error


def _whole_number(fields: Mapping[str, Any], name: str) -> int:
    number = fields[name]
    if type(number) is not int or number < 0:
        raise ValueError(f"{name} must be a whole number of 0 or more, not {number!r}")
    return number
