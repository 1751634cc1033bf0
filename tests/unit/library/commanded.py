"""The command `resumable-sweep`, called in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._command.program import main


@dataclass(frozen=True)
class Said:
    """How the command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """Calls the command, and hears what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Said:
        self._capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:  # argparse's, and that of a stop
            code = error.code if isinstance(error.code, int) else 1
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


def files_in(folder: Path) -> dict[str, bytes]:
    """What lies below `folder`, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def with_program(folder: Path, text: str) -> Iterator[None]:
    """Let `folder` hold the module `work`, and forget in the end what was imported of it."""
    (folder / "work.py").write_text(text)
    modules, path = set(sys.modules), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if "work" in name.split("."):
                del sys.modules[name]


def results(command: Command, log: str = "log.jsonl") -> list[Any]:
    """The results in a log, in the order of their keys."""
    return [line["result"] for line in sorted(command("export", log, "--partial").lines, key=lambda line: line["key"])]


def python(text: str) -> list[str]:
    """The words that have the command run a Python program."""
    return ["--", sys.executable, "-c", text]
