"""A page of the docs that shows files and sessions: the files are written, the commands run, the outputs compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TASKS = Path(__file__).parents[3] / "docs" / "tasks"
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the name of the file that it shows (None: none), and what is in it."""

    language: str
    name: str | None
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a session, and the output that is shown under it; `...` stands for anything."""

    line: str
    shown: str

    def fits(self, output: str) -> bool:
        """Return whether the page shows just that output."""
        pattern = re.escape(self.shown.strip()).replace(r"\.\.\.", ".*")
        return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def blocks_of(page: str) -> list[Block]:
    """Return the page's fenced blocks, in order."""
    return [Block(*found) for found in _BLOCK.findall(page)]


def commands_of(session: str) -> Iterator[Command]:
    """Yield the commands of a block of the language `console`."""
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield Command(line, shown)


def play(page: str, folder: Path, *, instead: Mapping[str, str]) -> list[tuple[Command, str]]:
    """Write the page's files to `folder` and run its commands there; return each with its output.

    Parameters
    ----------
    instead:
        What is to be taken in place of addresses that the page makes up.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SWEEP_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    for theirs, ours in instead.items():
        page = page.replace(theirs, ours)
    played = []
    for block in blocks_of(page):
        if block.name:
            (folder / block.name).write_text(block.text)
        if block.language != "console":
            continue
        status = 0
        for command in commands_of(block.text):
            done = subprocess.run(
                ["sh", "-c", f"(exit {status})\n{command.line}"],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            status = done.returncode
            played.append((command, done.stdout))
    return played
