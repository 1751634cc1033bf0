"""Which names are of files on their way to another name, and which paths fit a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

TEMPORARY = (
    (r"\.tmp$|\.tmp-|\.tmp\.[0-9]+$", ("x.tmp", "x.tmp-1a2b", "x.tmp.4711")),
    (r"^\..*tmp", (".tmpa1b2", ".x.tmp.3")),
    (r"^\..+\.[A-Za-z0-9_]{6,8}$", (".x.Ab12Cd",)),
    (r"\.orbax-checkpoint-tmp", ("7.orbax-checkpoint-tmp", "7.orbax-checkpoint-tmp-1")),
    (r"\.lock$", ("x.lock",)),
    (r"^\.nfs[0-9a-f]+$", (".nfs00000000000a0b0c",)),
    (r"~$", ("x~",)),
)
"""Names that belong to no checkpoint, of files and of folders with all that is in them: pattern and examples.

The third is rsync's; the fourth Orbax's (`TMP_DIR_SUFFIX`, followed by a time or nothing), which renames such a folder
once it is whole; the sixth is what NFS keeps of a file that was removed while it was open.
"""

_TEMPORARY = re.compile("|".join(pattern for pattern, _ in TEMPORARY))


def is_temporary(name: str) -> bool:
    """Return whether a file or folder of this name belongs to no checkpoint, nor does what is in it."""
    return _TEMPORARY.search(name) is not None


def fits(path: str, pattern: str) -> bool:
    """Return whether a path fits a pattern: `*`, `?`, `[a-z]` within a name, `**` for any number of folders."""
    return _fits(path.split("/"), pattern.split("/"))


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (bool(parts) and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
