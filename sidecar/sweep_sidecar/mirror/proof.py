"""When a shard is complete: never because somebody exited 0 alone."""

from __future__ import annotations

from typing import Any

from resumable_sweep.contract.canonical import sha256_of_identities
from sweep_sidecar.progress import Counted
from sweep_sidecar.settings import Completion

BY_EXIT = "exit"
"""The proof of a shard whose records may leave items open."""


def proof_of(counted: Counted, items: frozenset[str] | None) -> dict[str, Any] | None:
    """Return the proof that durable records give by themselves, None where they give none.

    Parameters
    ----------
    counted:
        What the newest generation records.
    items:
        The shard's items by their identity, None where nobody knows them.
    """
    settled = counted.settled
    digest = sha256_of_identities(settled)
    says_all = counted.total == len(settled) and counted.keys_sha256 == digest
    if says_all:
        return {"proof": "log", "items": len(settled), "keys_sha256": digest}
    if items is not None and items <= settled:
        return {"proof": "items", "items": len(items), "keys_sha256": digest}
    return None


def may_prove_by_exit(completion: Completion, counted: Counted, *, items_known: bool) -> bool:
    """Return whether exit codes can prove a shard complete that its records do not.

    Where nobody says otherwise that is so only where no record ever could: with the items known, or with a log of the
    library's, an exit with 0 that leaves some of them open is an interruption that the program took well.
    """
    if completion:
        return completion == "ExitCode"
    return not items_known and "sweep" not in counted.formats


def proof_by_exit(counted: Counted) -> dict[str, Any]:
    """Return the proof that every experiment container exited 0 of its own accord."""
    return {"proof": BY_EXIT, "items": len(counted.settled), "keys_sha256": sha256_of_identities(counted.settled)}
