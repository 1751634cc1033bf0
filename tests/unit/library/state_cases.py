"""Numbered states of every form that can be saved, and how to tell which one was loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from resumable_sweep._state import Loaded


@dataclass(frozen=True)
class Case:
    """A form: `state(n)` makes the n-th state; `read` returns what is comparable of one that was loaded."""

    name: str
    state: Callable[[int], Any]
    read: Callable[[Loaded], Any]

    def __str__(self) -> str:
        return self.name

    def expected(self, number: int) -> Any:
        """Return what `read` returns for the n-th state."""
        return {
            "bytes.bin": content(number),
            "arrays.npz": [["a/weights", [float(number)] * 40, "<f8"], ["step", number, "<i8"]],
            "folder": {"meta.json": content(number), "inner/data": content(number) * 3},
        }[self.name]


def content(number: int) -> bytes:
    return f"state {number} ".encode() * 60  # over a sector of 512 bytes


def write_folder(path: Path, number: int) -> None:
    """As a framework's writer does, but through functions that the crash tests can see; it does not sync."""
    path.mkdir()
    (path / "inner").mkdir()
    for name, data in (("meta.json", content(number)), ("inner/data", content(number) * 3)):
        file = os.open(path / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.write(file, data)
        os.close(file)


def _read_arrays(loaded: Loaded) -> Any:
    return [[name, array.tolist(), array.dtype.str] for name, array in sorted(loaded.arrays().items())]


def _read_folder(loaded: Loaded) -> Any:
    files = (path for path in loaded.path.rglob("*") if path.is_file())
    return {path.relative_to(loaded.path).as_posix(): path.read_bytes() for path in files}


BYTES = Case("bytes.bin", content, Loaded.read_bytes)
ARRAYS = Case(
    "arrays.npz", lambda n: {"a": {"weights": numpy.full(40, float(n))}, "step": numpy.int64(n)}, _read_arrays
)
FOLDER = Case("folder", lambda n: lambda path: write_folder(path, n), _read_folder)
CASES = (BYTES, ARRAYS, FOLDER)
