"""What docs/failure-modes.md quotes of the library is what the library says."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from resumable_sweep import CheckpointFellBack, LogInvalid, LogLocked, ResumableSweep, _file_lock
from resumable_sweep.contract.log_format import line_of
from unit.library.page import TASKS, Command

PAGE = (TASKS.parent / "failure-modes.md").read_text()
SECTION = PAGE.split("\n## The library\n")[1].split("\n## ")[0]
LOG = "results.jsonl"


def sweep_in(folder: Path) -> ResumableSweep:
    return ResumableSweep(range(4), checkpoint_path=folder / LOG, script=False)


def run_in(folder: Path) -> None:
    with sweep_in(folder) as sweep:
        for x in sweep.pending:
            sweep.record(x, numpy.full(9000, x) if x == 3 else x)


def said_on_entering(folder: Path) -> str:
    with pytest.warns(CheckpointFellBack) as caught:
        run_in(folder)
    return str(caught[0].message)


def of_a_full_disk(folder: Path) -> str:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with sweep_in(folder) as sweep, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError) as caught:
            sweep.record(0, 0)
    assert caught.value.filename == str(folder / LOG)
    return str(caught.value.strerror)


def of_a_damaged_log(folder: Path) -> str:
    run_in(folder)
    lines = (folder / LOG).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"result", b"resuld")
    (folder / LOG).write_bytes(b"".join(lines))
    return said_on_entering(folder)


def of_a_short_log(folder: Path) -> str:
    run_in(folder)
    os.truncate(folder / LOG, 700)
    return said_on_entering(folder)


def of_a_lost_side_file(folder: Path) -> str:
    run_in(folder)
    shutil.rmtree(folder / f"{LOG}.files")
    return said_on_entering(folder)


def of_a_newer_log(folder: Path) -> str:
    (folder / LOG).write_bytes(line_of({"kind": "header", "schema_version": 3}))
    with pytest.raises(LogInvalid) as caught:
        run_in(folder)
    return str(caught.value)


def of_another_process(folder: Path) -> str:
    with sweep_in(folder), pytest.raises(LogLocked) as caught:
        run_in(folder)
    return str(caught.value)


def of_a_mount(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_file_lock, "file_system_of", lambda _: "fuse.gcsfuse")
        with pytest.raises(OSError) as caught:
            run_in(folder)
    return str(caught.value.strerror)


CASES = [
    ("The disk is full, or reports an error", of_a_full_disk),
    ("The log is damaged", of_a_damaged_log),
    ("The log is damaged", of_a_short_log),
    ("A side file is damaged or lost", of_a_lost_side_file),
    ("The log is of a newer version", of_a_newer_log),
    ("Another process writes the log", of_another_process),
    ("The log is to lie in a mounted bucket", of_a_mount),
]


@pytest.mark.parametrize(("title", "said"), CASES, ids=[said.__name__ for _, said in CASES])
def test_what_is_quoted_is_what_is_said(title: str, said: Callable[[Path], str], tmp_path: Path) -> None:
    part = SECTION.split(f"\n### {title}\n")[1].split("\n### ")[0]
    message = re.sub(r"\d+ bytes before", "1807 bytes before", said(tmp_path))
    quotes = [quote for quote in re.findall(r"`([^`]+)`", part) if " " in quote]
    assert any(Command("", f"...{quote}...").fits(message) for quote in quotes), message


def test_every_row_says_all_four_things() -> None:
    parts = re.split(r"^### ", SECTION, flags=re.MULTILINE)[1:]
    assert len(parts) >= 12
    for part in parts:
        asked = re.findall(r"^\| (what [a-z ]+) \|", part, re.MULTILINE)
        assert asked == ["what happens", "what you see", "what is lost", "what to do"], part.splitlines()[0]
