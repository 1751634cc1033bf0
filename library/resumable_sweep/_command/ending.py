"""How the command ends: its exit codes, and the errors that are one sentence to whoever typed it."""

from __future__ import annotations

from enum import IntEnum

from resumable_sweep._config import ConfigInvalid
from resumable_sweep._drift import Drifted, DriftInvalid
from resumable_sweep._durability import NotDurable
from resumable_sweep._file_lock import LogLocked
from resumable_sweep._identity import IdentityInvalid, RunUnknown
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._outcome import ItemsFailed, ResultInvalid
from resumable_sweep._preserved import PreservedInvalid
from resumable_sweep._remote import SourceInvalid, SourceUnreachable
from resumable_sweep._script import ScriptInvalid
from resumable_sweep._side_files import SideFileDamaged
from resumable_sweep._state_search import CheckpointTooNew
from resumable_sweep._statistics import LabelInvalid
from resumable_sweep.contract import outcome
from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.log_format import LogInvalid


class Ending(IntEnum):
    """Exit codes; those from 64 on are the sidecar's, or those of sysexits.h. A stop is 143 or 130, as in a shell."""

    OK = 0
    FOUND = 1
    """Items have failed, or `verify` has found damage."""
    USAGE = 2
    """The command line or the environment is wrong."""
    INVALID = outcome.Exit.ITEMS_INVALID
    """The items or the log cannot be used: they are something else, or of a newer schema (EX_DATAERR)."""
    NO_INPUT = 66
    """There is no such log, file or run (EX_NOINPUT)."""
    UNREACHABLE = outcome.Exit.STORE_UNREACHABLE
    FAILED = outcome.Exit.FAILED
    """The operating system refused: a full disk, say."""
    LOCKED = 75
    """Another process writes the log: try again later (EX_TEMPFAIL)."""
    CORRUPT = outcome.Exit.CHECKPOINT_CORRUPT
    CHANGED = outcome.Exit.ITEMS_CHANGED
    """Configuration, script, seed or items are not those of the log."""
    INCOMPLETE = outcome.Exit.INCOMPLETE
    DUPLICATE_KEYS = outcome.Exit.DUPLICATE_KEYS
    PIPE_CLOSED = 141
    """Whoever read the output has gone; as a shell says of SIGPIPE."""


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and the mend, `ending` how it exits."""

    def __init__(self, ending: Ending, message: str) -> None:
        super().__init__(message)
        self.ending = ending


_ENDINGS: tuple[tuple[type[Exception], Ending], ...] = (
    (SettingsInvalid, Ending.USAGE),
    (ConfigInvalid, Ending.USAGE),
    (IdentityInvalid, Ending.USAGE),
    (DriftInvalid, Ending.USAGE),
    (ScriptInvalid, Ending.USAGE),
    (LabelInvalid, Ending.USAGE),
    (SourceInvalid, Ending.USAGE),
    (RunUnknown, Ending.NO_INPUT),
    (ItemsInvalid, Ending.INVALID),
    (ResultInvalid, Ending.INVALID),
    (LogInvalid, Ending.INVALID),
    (PreservedInvalid, Ending.INVALID),
    (CheckpointTooNew, Ending.INVALID),
    (SourceUnreachable, Ending.UNREACHABLE),
    (NotDurable, Ending.UNREACHABLE),
    (LogLocked, Ending.LOCKED),
    (Drifted, Ending.CHANGED),
    (SideFileDamaged, Ending.CORRUPT),
    (ItemsFailed, Ending.FOUND),
)


def ending_of(error: Exception) -> Ending | None:
    """Return how the command ends with `error`, None where that is nobody's fault but the program's own."""
    if isinstance(error, CommandError):
        return error.ending
    for kind, ending in _ENDINGS:
        if isinstance(error, kind):
            return ending
    return Ending.FAILED if isinstance(error, OSError) else None
