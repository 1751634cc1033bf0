"""Commands that come with other parts of the distribution: found by their entry points, named also where they lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from resumable_sweep._command.ending import CommandError, Ending

GROUP = "resumable_sweep.commands"
STORE = "store"
STORE_HELP = "look into a run's bucket: ls, log, verify, restore, merge, gc (needs the extra `sidecar`)"


def command_named(name: str) -> Callable[[Sequence[str]], int]:
    """Return the function that takes the command's words and returns its exit code.

    Raises
    ------
    CommandError
        Where the part that has it is not installed.
    """
    for found in entry_points(group=GROUP, name=name):
        try:
            command: Callable[[Sequence[str]], int] = found.load()
        except ImportError as error:
            raise _missing(name, f" ({error})") from error
        return command
    raise _missing(name, "")


def _missing(name: str, why: str) -> CommandError:
    return CommandError(
        Ending.USAGE, f"`{name}` is not installed here{why}: pip install 'resumable-sweep[sidecar]' brings it"
    )
