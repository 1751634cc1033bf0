"""Drift: results under one log that come from different configurations, scripts or seeds, and how it is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from resumable_sweep._config import changes_of
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._preserved import Preserved
from resumable_sweep._script import diff_of

PARTS = ("config", "script", "seed", "items")
"""What `allow_drift` may name."""
_NOUNS = {"config": "configuration", "script": "script", "seed": "seed", "items": "list of items"}
_DETAIL_LINES = 20
_HASH_CHARACTERS = 16
_KEYS_SHOWN = 5
_KEY_CHARACTERS = 80
_AT_ONCE = 4096


class Drifted(RuntimeError):
    """The log holds results of another configuration, script or seed; the message says what changed and the mend."""


class DriftWarning(UserWarning):
    """The run goes on although something is not what it was when the results in the log were made."""


class DriftInvalid(SettingsInvalid):
    """`allow_drift` names what cannot drift."""


@dataclass(frozen=True)
class Change:
    """One part (of `PARTS`) that is not what it was; `details` are lines for a person."""

    part: str
    sentence: str
    details: tuple[str, ...]
    allowed: bool

    @property
    def text(self) -> str:
        """The sentence, and under it the details."""
        return "\n".join([self.sentence, *(f"    {line}" for line in self.details)])


@dataclass(frozen=True)
class Drift:
    """All that has changed since the results in a log were made; empty where nothing has."""

    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """What the run must not go on with."""
        return tuple(change for change in self.changes if not change.allowed)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Texts to warn with of what the run goes on with."""
        return tuple(change.text for change in self.changes if change.allowed)

    def error(self, log: Path | str) -> Drifted:
        """Return the error for what is refused, to be raised; `log` is the path or URL of what it is refused for."""
        refused = self.refused
        parts = [change.part for change in refused]
        what = " and ".join(_NOUNS[part] for part in parts)
        lines = [f"{log} holds results of another {what}:", *(f"  {change.text}" for change in refused)]
        names = ", ".join(f'"{part}"' for part in parts)
        lines.append(
            f"Go back to what it was; or, where the results so far are as good with the new {what}, pass "
            f"allow_drift=[{names}]; or start afresh with another checkpoint_path."
        )
        return Drifted("\n".join(lines))


def allowed_parts(allow: bool | str | Collection[str]) -> frozenset[str]:
    """Return the parts that `allow_drift` names: True is all, a string the one.

    Raises
    ------
    DriftInvalid
        Where it names something else.
    """
    if isinstance(allow, bool):
        return frozenset(PARTS if allow else ())
    parts = frozenset([allow] if isinstance(allow, str) else allow)
    unknown = sorted(repr(part) for part in parts if part not in PARTS)
    if unknown:
        raise DriftInvalid(f"allow_drift={allow!r} names {', '.join(unknown)}: it may name {', '.join(PARTS)}")
    return parts


def items_sha256(identities: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of the items' keys, given by their identities, in the order of the items.

    The order counts, because an item's place decides which shard it belongs to.
    """
    digest = hashlib.sha256()
    rest = iter(identities)
    while some := list(islice(rest, _AT_ONCE)):
        digest.update("\n".join([*some, ""]).encode())
    return digest.hexdigest()


def compare(
    before: Preserved,
    now: Preserved,
    *,
    allow: bool | str | Collection[str] = (),
    recorded: int = 0,
    gone: Collection[str] = (),
) -> Drift:
    """Return what has changed between the run that a log speaks of and this one.

    What either of them does not know has not changed. New items are never refused, they are only more work; but where
    keys are `gone` (identities of recorded keys that are not among the items; `recorded` counts all recorded ones),
    work is about to be left out. Allowed, their results are kept and passed over.

    Raises
    ------
    DriftInvalid
        Where `allow` names what cannot drift.
    """
    allowed = allowed_parts(allow)
    changes = []
    if _differ(before.config_sha256, now.config_sha256):
        sentence = f"configuration: {_hashes(before.config_sha256, now.config_sha256)}"
        changes.append(Change("config", sentence, _config_details(before, now), "config" in allowed))
    if _differ(before.script_sha256, now.script_sha256):
        sentence = f"script {now.script_path}: {_hashes(before.script_sha256, now.script_sha256)}"
        changes.append(Change("script", sentence, _script_details(before, now), "script" in allowed))
    if _differ(before.seed, now.seed):
        changes.append(Change("seed", f"seed: {before.seed} -> {now.seed}", (), "seed" in allowed))
    if gone and (before.items_sha256 is None or before.items_sha256 != now.items_sha256):
        changes.append(_items_change(before, now, recorded=recorded, gone=gone, allowed="items" in allowed))
    return Drift(tuple(changes))


def _differ(before: object, now: object) -> bool:
    return before is not None and now is not None and before != now


def _hashes(before: str | None, now: str | None) -> str:
    return f"sha256 {str(before)[:_HASH_CHARACTERS]} -> {str(now)[:_HASH_CHARACTERS]}"


def _config_details(before: Preserved, now: Preserved) -> tuple[str, ...]:
    if before.config is None or now.config is None:
        return ("no copy of the one before was kept",)
    return _cut(changes_of(before.config, now.config))


def _script_details(before: Preserved, now: Preserved) -> tuple[str, ...]:
    moved = () if before.script_path in (None, now.script_path) else (f"before, it was {before.script_path}",)
    if before.script_text is None:
        return (*moved, "no copy of the one before was kept")
    if now.script_text is None:
        return (*moved, "the one of now is too long, or not UTF-8, to be compared")
    return (*moved, *diff_of(before.script_text, now.script_text))


def _items_change(before: Preserved, now: Preserved, *, recorded: int, gone: Collection[str], allowed: bool) -> Change:
    totals = "" if before.items_total is None else f"; there were {before.items_total} items, now {now.items_total}"
    if len(gone) >= recorded:
        sentence = (
            f"items: none of the {len(gone)} recorded keys is among them{totals}. If these are the same items, their "
            "keys are made in another way than before: see key="
        )
    else:
        sentence = (
            f"items: {len(gone)} of {recorded} recorded keys are no longer among them{totals}. What was recorded stays "
            "in the log, and is left out of the results"
        )
    shown = [name[:_KEY_CHARACTERS] for name in sorted(gone)]
    return Change("items", sentence, _cut(shown, limit=_KEYS_SHOWN), allowed)


def _cut(lines: list[str], *, limit: int = _DETAIL_LINES) -> tuple[str, ...]:
    if len(lines) <= limit:
        return tuple(lines)
    return (*lines[: limit - 1], f"… and {len(lines) - limit + 1} more")
