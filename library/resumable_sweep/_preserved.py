"""What a log's results were made from, kept beside it: configuration, script, items and seed (`<log>.sweep.json`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resumable_sweep._config import config_sha256, json_value
from resumable_sweep._disk import corrupt_path, replace_whole, sync_folder
from resumable_sweep._script import Script
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.log_format import LogInvalid

SCHEMA_VERSION = 1
SUFFIX = ".sweep.json"
_TEXTS = ("config_sha256", "script_path", "script_sha256", "script_text")


class PreservedInvalid(LogInvalid):
    """The file is of a version that this library does not know."""


@dataclass(frozen=True, kw_only=True)
class Preserved:
    """What results come from; None is what nobody has said.

    `config` is a mapping in JSON form, hashes are SHA-256 in hex, `items_total` counts this shard's items, and
    `items_sha256` is over their keys in order. `script_text` is None where the text was too long or not UTF-8 as well.
    """

    config: dict[str, Any] | None = None
    config_sha256: str | None = None
    script_path: str | None = None
    script_sha256: str | None = None
    script_text: str | None = None
    items_total: int | None = None
    items_sha256: str | None = None
    seed: int | None = None

    def to_json(self) -> str:
        """Return the text of the file; its field `sha256` is over the canonical JSON of all the others."""
        fields = {
            "schema_version": SCHEMA_VERSION,
            "config": self.config,
            **{name: getattr(self, name) for name in _TEXTS},
            "items": {"total": self.items_total, "sha256": self.items_sha256},
            "seed": self.seed,
        }
        fields["sha256"] = _checksum(fields)
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Reading:
    """What reading the file gave: `preserved` is None where there is none that is whole.

    Where it was damaged, `kept_as` is where it lies now, and `reason` what is wrong with it.
    """

    preserved: Preserved | None
    kept_as: Path | None = None
    reason: str = ""


def preserved_of(
    *,
    config: Any = None,
    script: Script | None = None,
    items_total: int | None = None,
    items_sha256: str | None = None,
    seed: int | None = None,
) -> Preserved:
    """Return what there is to preserve of a run; `config` is a mapping or a dataclass instance.

    Raises
    ------
    ConfigInvalid
        Where JSON has no form for the configuration.
    """
    return Preserved(
        config=None if config is None else json_value(config, "config"),
        config_sha256=None if config is None else config_sha256(config),
        script_path=None if script is None else str(script.path),
        script_sha256=None if script is None else script.sha256,
        script_text=None if script is None else script.text,
        items_total=items_total,
        items_sha256=items_sha256,
        seed=seed,
    )


def known_of(header: Mapping[str, Any], preserved: Preserved | None) -> Preserved:
    """Return what is known of the run that a log's last `header` speaks of.

    The log decides: what the file says besides a hash counts only where its hash is the header's. A crash between the
    writing of the two, and a file that was lost, cost details, never the comparison.
    """
    found = preserved or Preserved()
    hashes = {name: _text_or_none(header.get(name)) for name in ("config_sha256", "script_sha256", "items_sha256")}
    seed = header.get("seed")
    known = replace(
        found,
        seed=seed if type(seed) is int else None,
        config_sha256=hashes["config_sha256"],
        script_sha256=hashes["script_sha256"],
        items_sha256=hashes["items_sha256"],
    )
    if hashes["config_sha256"] != found.config_sha256:
        known = replace(known, config=None)
    if hashes["script_sha256"] != found.script_sha256:
        known = replace(known, script_path=None, script_text=None)
    if hashes["items_sha256"] != found.items_sha256:
        known = replace(known, items_total=None)
    return known


def merged(before: Preserved, now: Preserved) -> Preserved:
    """Return what is to be preserved from now on: all that `now` says, and where it says nothing, what was known."""
    chosen = before
    if now.config_sha256 is not None:
        chosen = replace(chosen, config=now.config, config_sha256=now.config_sha256)
    if now.script_sha256 is not None:
        chosen = replace(
            chosen, script_path=now.script_path, script_sha256=now.script_sha256, script_text=now.script_text
        )
    if now.items_sha256 is not None:
        chosen = replace(chosen, items_total=now.items_total, items_sha256=now.items_sha256)
    return chosen if now.seed is None else replace(chosen, seed=now.seed)


def preserved_path(log_path: Path) -> Path:
    """Return where it lies: beside the log."""
    return log_path.with_name(log_path.name + SUFFIX)


def write_preserved(log_path: Path, preserved: Preserved) -> None:
    """Write the file beside the log, in one step and durably.

    Raises
    ------
    OSError
        Where it cannot be written; what was there before is there still.
    """
    replace_whole(preserved_path(log_path), preserved.to_json().encode())


def read_preserved(log_path: Path) -> Reading:
    """Return what lies beside the log; a damaged file is moved aside as `.corrupt-N`. The log's lock must be held.

    Raises
    ------
    PreservedInvalid
        Where a newer version has written it.
    OSError
        Where it is there and cannot be read.
    """
    path = preserved_path(log_path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Reading(None)
    try:
        return Reading(parsed_preserved(data))
    except PreservedInvalid as error:
        raise PreservedInvalid(f"{path} {error}") from error
    except ValueError as error:
        kept_as = corrupt_path(path)
        os.replace(path, kept_as)  # noqa: PTH105 - files are changed through `os` alone
        sync_folder(path.parent)
        return Reading(None, kept_as, str(error))


def parsed_preserved(data: bytes) -> Preserved:
    """Return what a file's bytes say.

    Raises
    ------
    PreservedInvalid
        Where a newer version has written them; the checksum has the same form in every version.
    ValueError
        Where they are damaged.
    """
    fields = json.loads(data.decode())
    if not isinstance(fields, dict) or fields.pop("sha256", None) != _checksum(fields):
        raise ValueError("it does not fit its own checksum")
    version = fields.get("schema_version")
    if type(version) is not int or version > SCHEMA_VERSION:
        raise PreservedInvalid(
            f"has schema version {version!r}, this library knows {SCHEMA_VERSION} at most: install a newer "
            "resumable-sweep"
        )
    try:
        return Preserved(
            config=fields["config"],
            **{name: fields[name] for name in _TEXTS},
            items_total=fields["items"]["total"],
            items_sha256=fields["items"]["sha256"],
            seed=fields["seed"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks a field: {error}") from error


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
