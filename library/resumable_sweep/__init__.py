"""Experiments that go on where they were cut off: items are handed out, results recorded, nothing is done twice.

Standard library only; works with and without a cluster.
"""

from __future__ import annotations

from resumable_sweep._checkpointer import Checkpointer
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
from resumable_sweep._preempt import PreemptGuard
from resumable_sweep._random_state import RandomStateInvalid
from resumable_sweep._remote import SourceInvalid, SourceUnreachable
from resumable_sweep._run import run
from resumable_sweep._seeds import SeedSequence
from resumable_sweep._side_files import SideFileDamaged
from resumable_sweep._state import FellBack, Loaded, latest, load_state, save_state
from resumable_sweep._state_files import StateInvalid
from resumable_sweep._state_search import CheckpointDamaged, CheckpointTooNew
from resumable_sweep._statistics import Stats
from resumable_sweep._sweep import ResumableSweep
from resumable_sweep.contract.canonical import canonical_json, key_of
from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.log_format import LogInvalid

__all__ = [
    "CheckpointDamaged",
    "CheckpointFellBack",
    "CheckpointTooNew",
    "Checkpointer",
    "DriftWarning",
    "Drifted",
    "ErrorLogWarning",
    "FailedItem",
    "FellBack",
    "IdentityInvalid",
    "ItemsFailed",
    "ItemsInvalid",
    "Loaded",
    "LogInvalid",
    "LogLocked",
    "NotDurable",
    "PreemptGuard",
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
    "StateInvalid",
    "Stats",
    "WorkerDied",
    "WorkersCannotStart",
    "canonical_json",
    "key_of",
    "latest",
    "load_state",
    "run",
    "run_id_of",
    "save_state",
]

# What the program sees of them (tracebacks, help) shall be where it has them from.
for _name in __all__:
    if getattr(globals()[_name], "__module__", "").startswith(f"{__name__}."):
        globals()[_name].__module__ = __name__
