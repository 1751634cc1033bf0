"""The script that makes the results: found, read, and hashed without what editors and checkouts change unasked."""

from __future__ import annotations

import codecs
import difflib
import hashlib
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from resumable_sweep._invalid import SettingsInvalid

TEXT_LIMIT_BYTES = 1 << 20
"""The text of a longer script is not kept; its hash is."""
_DIFF_LINES = 20
_DIFF_LINE_CHARACTERS = 120
_COMPARED_LINES = 2000
"""Where more lines than that are between the first and the last difference, no diff is made: that may take minutes."""
_SHIM_BYTES = 2048


class ScriptInvalid(SettingsInvalid):
    """The script that was given cannot be read; the message names it and the mend."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script: its SHA-256 (hex), and its text unless that is too long or not UTF-8."""

    path: Path
    sha256: str
    text: str | None


def script_of(script: str | os.PathLike[str] | bool | None) -> Script | None:
    """Return the script to watch: the one at the path given, with None the program's own; False is none.

    Raises
    ------
    ScriptInvalid
        Where it cannot be read.
    """
    if script is False:
        return None
    if isinstance(script, bool):
        raise ScriptInvalid("script=True says nothing: leave it out, or give the script's path")
    path = script_of_main() if script is None else Path(script).absolute()
    return None if path is None else script_at(path)


def script_at(path: Path) -> Script:
    """Return the script at `path`.

    A byte order mark, the kind of line ends, and those at the very end do not count. What is not UTF-8 is hashed as it
    is.

    Raises
    ------
    ScriptInvalid
        Where it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScriptInvalid(
            f"script={str(path)!r} cannot be read ({error.strerror}): give the path of the file that makes the "
            "results, or script=False to go without"
        ) from error
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        return Script(path=path, sha256=hashlib.sha256(data).hexdigest(), text=None)
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    data = text.encode()
    kept = text if len(data) <= TEXT_LIMIT_BYTES else None
    return Script(path=path, sha256=hashlib.sha256(data).hexdigest(), text=kept)


def script_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of the script at `path`, as `script_at` has it."""
    return script_at(path).sha256


def script_of_main() -> Path | None:
    """Return the file that Python was started with; None where that is not somebody's own script.

    It is not in an interactive session, nor where an installed program (`pytest`, a notebook's kernel) runs the code.
    """
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(name, str):
        return None
    path = Path(name).absolute()
    if not path.is_file() or _is_installed(path) or _is_shim(path):
        return None
    return path


def diff_of(before: str, now: str) -> list[str]:
    """Return a short unified diff of two texts, at most about twenty lines."""
    old, new = before.split("\n"), now.split("\n")
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    changed = max(len(old), len(new)) - start - end
    if changed > _COMPARED_LINES:
        return [f"{changed} lines differ, from line {start + 1} on"]
    # One line of context on either side; the numbers of lines are put right below.
    first = max(0, start - 1)
    old, new = old[first : len(old) - max(0, end - 1)], new[first : len(new) - max(0, end - 1)]
    lines = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(1):
        lines.append(f"@@ line {first + group[0][1] + 1} before, line {first + group[0][3] + 1} now @@")
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += [" " + line for line in old[old_start:old_end]]
            else:
                lines += ["-" + line for line in old[old_start:old_end]]
                lines += ["+" + line for line in new[new_start:new_end]]
    if len(lines) > _DIFF_LINES:
        lines = [*lines[: _DIFF_LINES - 1], f"… and {len(lines) - _DIFF_LINES + 1} lines more"]
    return [line[:_DIFF_LINE_CHARACTERS] for line in lines]


def _is_installed(path: Path) -> bool:
    """Return whether `path` belongs to Python itself or to an installed package."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or any(map(path.is_relative_to, folders))


def _is_shim(path: Path) -> bool:
    """Return whether `path` is one of the files that installers write into `bin` for a package's command.

    All of them mend `sys.argv[0]` before they call the command (pip's, uv's and setuptools' templates), which nobody
    does in an experiment.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_SHIM_BYTES + 1)
    except OSError:
        return False  # `script_at` says what is wrong with it
    return len(data) <= _SHIM_BYTES and b"sys.argv[0] = " in data and b"sys.exit(" in data
