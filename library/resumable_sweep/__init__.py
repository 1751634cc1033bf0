"""Experiments that go on where they were cut off: items are handed out, results recorded, nothing is done twice.

Standard library only; works with and without a cluster.
"""

from __future__ import annotations

from resumable_sweep._drift import Drifted, DriftWarning
from resumable_sweep._durability import NotDurable
from resumable_sweep._error_log import ErrorLogWarning
from resumable_sweep._file_lock import LogLocked
from resumable_sweep._identity import IdentityInvalid, RunUnknown, run_id_of
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._opening import CheckpointFellBack
from resumable_sweep._outcome import (
    FailedItem,
    ItemsFailed,
    ResultInvalid,
    SkipItem,
    SkippedItem,
    WorkerDied,
    WorkersCannotStart,
)
from resumable_sweep._random_state import RandomStateInvalid
from resumable_sweep._remote import SourceInvalid, SourceUnreachable
from resumable_sweep._run import run
from resumable_sweep._seeds import SeedSequence
from resumable_sweep._side_files import SideFileDamaged
from resumable_sweep._statistics import Stats
from resumable_sweep._sweep import ResumableSweep
from resumable_sweep.contract.canonical import canonical_json, key_of
from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.log_format import LogInvalid

__all__ = [
    "CheckpointFellBack",
    "DriftWarning",
    "Drifted",
    "ErrorLogWarning",
    "FailedItem",
    "IdentityInvalid",
    "ItemsFailed",
    "ItemsInvalid",
    "LogInvalid",
    "LogLocked",
    "NotDurable",
    "RandomStateInvalid",
    "ResultInvalid",
    "ResumableSweep",
    "RunUnknown",
    "SeedSequence",
    "SettingsInvalid",
    "SideFileDamaged",
    "SkipItem",
    "SkippedItem",
    "SourceInvalid",
    "SourceUnreachable",
    "Stats",
    "WorkerDied",
    "WorkersCannotStart",
    "canonical_json",
    "key_of",
    "run",
    "run_id_of",
]
