"""What a run is made of, kept in the store, and attempts that are made of something else."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.environment import WHILE_EMPTY
from sweep_sidecar import layout
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, parsed_entry
from sweep_sidecar.store import Creation, NotFound, Store, url_of

_LOG = logging.getLogger(__name__)

ALL = "All"
"""What `spec.allowDrift` may name for all of the parts below that may drift."""
PARTS = {"program_sha256": "Program", "images": "Images", "checkpoint_file": "CheckpointFile", "items_sha256": "Items"}
"""Fields that may differ where `spec.allowDrift` names them."""
SCHEMA_VERSION = 1
_KEYS_READ = 20_000
"""A run with more objects than this is not read through: it is not empty."""


class Drifted(Exception):
    """The attempt is made of something else than the run's results so far; the message names both, and the mend."""


@dataclass(frozen=True, kw_only=True)
class MadeOf:
    """What decides the results of a run; empty strings where nobody knows.

    `program_sha256` is the digest of what the pod template says of the program, besides its images.
    """

    shards: int
    items_sha256: str
    checkpoint_file: str
    images: tuple[str, ...]
    program_sha256: str


def admit(store: Store, made_of: MadeOf, *, allowed: Collection[str], attempt: int, clock: Callable[[], float]) -> None:
    """Let an attempt into the run, whose results so far it must fit; the first one says what the run is made of.

    What was allowed once is recorded too, and no drift from then on: pods made before and after a change may start in
    any order.

    Parameters
    ----------
    allowed:
        Values of `PARTS`, or `ALL`, that may differ from now on. The number of shards never may. `WHILE_EMPTY`: all of
        them, while no shard has stored a thing; what an earlier attempt said of the run then counts no more.

    Raises
    ------
    Drifted
    Unreachable
    """
    while True:
        known, free = _recorded(store)
        if made_of in known:
            return
        known, free = _recorded_twice(store, (known, free))
        if made_of in known:
            return
        afresh = bool(known) and WHILE_EMPTY in allowed and _is_of_before(store, attempt) and _is_empty(store)
        if known and not afresh:
            differences = _differences(known[-1], made_of)
            refused = [part for part in differences if part not in allowed and (part == "shards" or ALL not in allowed)]
            if refused:
                raise Drifted(_text(store, differences, refused))
            _LOG.warning("going on with a drift that is allowed: %s", "; ".join(differences.values()))
        fields = {"schema_version": SCHEMA_VERSION, "attempt": attempt, "time": clock(), **asdict(made_of)}
        if afresh:
            fields["afresh"] = True
        data = canonical_json({**fields, "record_sha256": _own_sha256(fields)}).encode() + b"\n"
        if store.create(layout.run_key(free), data) is Creation.CREATED:
            return


def newest_record(store: Store) -> MadeOf | None:
    """Return what a run is made of now, None where it has no record.

    Raises
    ------
    Unreachable
    """
    known, _ = _recorded_twice(store, _recorded(store))
    return known[-1] if known else None


def _recorded_twice(store: Store, once: tuple[list[MadeOf], int]) -> tuple[list[MadeOf], int]:
    """Return what two reads in a row agree on; where nothing is recorded, there is nothing to read again.

    One that was garbled on its way is passed over, and one of an earlier release has no digest to tell it by: what is
    left would refuse what fits, or let in what does not.
    """
    while once[1]:
        again = _recorded(store)
        if again == once:
            break
        once = again
    return once


def _recorded(store: Store) -> tuple[list[MadeOf], int]:
    """Return what the run was made of so far, and the first free number; a record that is damaged is passed over."""
    found = store.list(layout.run_prefix())
    known: list[MadeOf] = []
    for entry in found:
        try:
            fields = json.loads(store.get(entry.key))
            made_of = _parsed(fields)
            # With what was never run nothing may go on later, as if it had been.
            known = [made_of] if fields.get("afresh") is True else [*known, made_of]
        except (NotFound, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s is damaged, and passed over: %r", url_of(store, entry.key), error)
    return known, max((layout.run_number(entry.key) for entry in found), default=-1) + 1


def _is_of_before(store: Store, attempt: int) -> bool:
    """Return whether only earlier attempts have said what the run is made of: a later one may run already."""
    try:
        records = (json.loads(store.get(entry.key)) for entry in store.list(layout.run_prefix()))
        return all(int(record["attempt"]) < attempt for record in records)
    except (NotFound, ValueError, KeyError, TypeError):
        return False


def _is_empty(store: Store) -> bool:
    """Return whether attempts have taken shards, at most, and stored nothing; where that is in doubt it is not so."""
    if store.list(layout.blobs_prefix(), limit=1):
        return False
    found = store.list("", limit=_KEYS_READ + 1)
    if len(found) > _KEYS_READ:
        return False
    try:
        return all(_says_nothing(store, entry.key) for entry in found if layout.is_log_key(entry.key))
    except (NotFound, CheckpointCorrupt, ValueError):
        return False


def _says_nothing(store: Store, key: str) -> bool:
    entry = parsed_entry(store.get(key), seq=layout.seq_of(key), where=url_of(store, key)).entry
    return entry.kind in (Kind.TAKE, Kind.SEAL) or (entry.kind is Kind.BASE and entry.body.get("generation") is None)


def _own_sha256(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


def _parsed(fields: Mapping[str, Any]) -> MadeOf:
    others = {name: value for name, value in fields.items() if name != "record_sha256"}
    if "record_sha256" in fields and fields["record_sha256"] != _own_sha256(others):
        raise ValueError("it does not fit the digest that it holds")
    return MadeOf(
        shards=int(fields["shards"]),
        items_sha256=str(fields["items_sha256"]),
        checkpoint_file=str(fields["checkpoint_file"]),
        images=tuple(str(image) for image in fields["images"]),
        program_sha256=str(fields["program_sha256"]),
    )


def _differences(before: MadeOf, now: MadeOf) -> dict[str, str]:
    """Return what differs: a sentence by the part's name."""
    was, is_ = asdict(before), asdict(now)
    return {
        PARTS.get(field, field): f"{field} was {_shown(was[field])} and is {_shown(is_[field])}"
        for field in was
        if was[field] != is_[field]
    }


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else repr(value) if value == "" else str(value)


def _text(store: Store, differences: Mapping[str, str], refused: list[str]) -> str:
    said = f"the results in {store.url} come from something else: {'; '.join(differences.values())}. "
    if "shards" in refused:
        return f"{said}Items would move from one checkpoint to another: put shards back, or choose another runId"
    names = ", ".join(refused)
    return said + (
        f"Put it back; or, where the results so far are as good, set spec.allowDrift to [{names}]; "
        "or give the sweep another runId"
    )
