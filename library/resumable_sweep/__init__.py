"""Experiments that go on where they were cut off: items are handed out, results recorded, nothing is done twice.

Standard library only; works with and without a cluster.
"""

from __future__ import annotations

from resumable_sweep._log import LogLocked
from resumable_sweep._settings import SettingsInvalid
from resumable_sweep._sweep import ResultInvalid, ResumableSweep
from resumable_sweep.contract.canonical import canonical_json, key_of
from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.log_format import LogInvalid

__all__ = [
    "ItemsInvalid",
    "LogInvalid",
    "LogLocked",
    "ResultInvalid",
    "ResumableSweep",
    "SettingsInvalid",
    "canonical_json",
    "key_of",
]
