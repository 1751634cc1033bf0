from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import CheckpointFellBack, ResumableSweep
from resumable_sweep._command.repairing import mend
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._identity import run_log_path
from resumable_sweep._preserved import preserved_path
from resumable_sweep._state import save_state
from resumable_sweep.contract.log_format import line_of
from resumable_sweep.contract.manifest import manifest_path
from unit.library.commanded import Command, files_in

ITEMS = 5
BIG = 100_000
"""Bytes of a result that goes to a side file."""


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def swept(log: Path) -> list[Any]:
    """Run the sweep to its end, and return its results."""
    with ResumableSweep(range(ITEMS), checkpoint_path=log, script=False, config={"a": 1}) as sweep:
        for item in sweep.pending:
            sweep.record(item, bytes([item]) * BIG if item == 2 else {"x": item})
        return list(sweep.results())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "results.jsonl"
    swept(path)
    return path


def side_file(log: Path) -> Path:
    (found,) = log.with_name(f"{log.name}.files").iterdir()
    return found


def change(path: Path, before: bytes, after: bytes) -> None:
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def replace_line(log: Path, start: bytes, line: bytes) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    place = next(number for number, found in enumerate(lines) if found.startswith(start))
    log.write_bytes(b"".join([*lines[:place], line, *lines[place + 1 :]]))
    manifest_path(log).unlink()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a line": (lambda log: change(log, b'"x":1', b'"x":7'), "does not fit its checksum"),
    "the header": (lambda log: change(log, b'"kind":"header"', b'"kind":"heaver"'), "does not fit its checksum"),
    "the length": (lambda log: cut(log, 200), "its manifest says"),
    "the manifest": (lambda log: manifest_path(log).write_bytes(b"{}"), "manifest"),
    "a side file": (lambda log: cut(side_file(log), 1), "it had 100000"),
    "a lost side file": (lambda log: side_file(log).unlink(), "is missing"),
    "what is preserved": (lambda log: change(preserved_path(log), b'"a": 1', b'"a": 2'), "does not fit its own"),
    "complete": (
        lambda log: replace_line(
            log, b'{"kind":"complete"', line_of({"kind": "complete", "total": 9, "keys_sha256": "", "skipped": 0})
        ),
        "counts 9 items, 5 are done or skipped",
    ),
    "keys": (
        lambda log: replace_line(
            log, b'{"kind":"complete"', line_of({"kind": "complete", "total": 5, "keys_sha256": "", "skipped": 0})
        ),
        "speaks of other keys",
    ),
}


def test_a_whole_log_is_whole(log: Path, command: Command) -> None:
    assert command("verify", log).out == f"{log}: whole\n"
    (said,) = command("verify", log, "--json").json
    assert said == {"path": str(log), "whole": True, "findings": []}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_found_and_nothing_changed(what: str, log: Path, command: Command) -> None:
    damage, text = DAMAGES[what]
    damage(log)
    before = files_in(log.parent)
    said = command("verify", log)
    assert said.code == 1
    assert text in said.out
    (report,) = command("verify", log, "--json").json
    assert not report["whole"]
    assert any(text in finding["problem"] for finding in report["findings"])
    assert files_in(log.parent) == before


@pytest.mark.parametrize("what", DAMAGES)
def test_a_repaired_log_goes_on_as_the_damaged_one_would(what: str, log: Path, command: Command) -> None:
    damage, _ = DAMAGES[what]
    wanted = swept(log)
    damage(log)
    other = log.parent.with_name("repaired") / log.name
    shutil.copytree(log.parent, other.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointFellBack)
        assert swept(log) == wanted
        before = files_in(other.parent)
        planned = command("repair", other, "--dry-run", "--json").json["steps"]
        assert planned
        assert files_in(other.parent) == before
        assert command("repair", other, "--json").json["steps"] == planned
        kept = command("export", other, "--partial").lines
        assert swept(other) == wanted
    # Only what was damaged is missing after a repair, and nothing that was good.
    lost = 1 if what in ("a line", "the length") else 0
    assert len(kept) == ITEMS - lost
    with ResumableSweep(range(ITEMS), checkpoint_path=other, script=False) as sweep:
        assert list(sweep.pending) == []


@pytest.mark.parametrize("what", [what for what in DAMAGES if "side file" not in what])
def test_nothing_is_wrong_after_a_repair(what: str, log: Path, command: Command) -> None:
    DAMAGES[what][0](log)
    command("repair", log)
    assert command("verify", log).code == 0
    assert command("repair", log).out == f"{log}: there is nothing to repair\n"


def test_a_repair_keeps_the_damaged_file(log: Path, command: Command) -> None:
    DAMAGES["a line"][0](log)
    damaged = log.read_bytes()
    command("repair", log)
    assert log.with_name(f"{log.name}.corrupt-1").read_bytes() == damaged
    (entry,) = command("show", log, "--json").json["history"][-1:]
    # Its complete entry spoke of a result that is lost.
    assert entry["kind"] == "reopened"


def test_a_log_that_lost_nothing_stays_complete(log: Path, command: Command) -> None:
    change(log, b'{"kind":"started"', b'{"kind":"starled"')
    assert command("repair", log).code == 0
    assert command("show", log, "--json").json["complete"]
    assert command("export", log).code == 0


def test_a_lost_header_without_a_manifest_is_left_to_the_user(log: Path, command: Command) -> None:
    DAMAGES["the header"][0](log)
    manifest_path(log).unlink()
    before = files_in(log.parent)
    said = command("repair", log)
    assert said.code == 82
    assert "has lost its header" in said.err
    assert files_in(log.parent) == before
    assert "all items run again" in command("verify", log).out


def test_a_torn_line_is_noted_and_cut_off(log: Path, command: Command) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"kind":"do')
    said = command("verify", log)
    assert said.code == 0
    assert "torn" in said.out
    command("repair", log)
    assert log.read_bytes() == whole


def test_side_files_that_nothing_names_are_removed(log: Path, command: Command) -> None:
    kept = side_file(log)
    orphan = kept.with_name("0" * 64 + ".bin")
    orphan.write_bytes(b"left")
    said = command("verify", log)
    assert said.code == 0
    assert str(orphan) in said.out
    command("repair", log, "--dry-run")
    assert orphan.exists()
    command("repair", log)
    assert not orphan.exists()
    assert kept.exists()


def test_side_files_that_another_log_names_stay(log: Path, command: Command) -> None:
    old = log.rename(log.with_name("old.jsonl"))
    manifest_path(log).rename(manifest_path(old))
    preserved_path(log).rename(preserved_path(old))
    with ResumableSweep([1], checkpoint_path=log, script=False) as sweep:
        for item in sweep.pending:
            sweep.record(item, 1)
    command("repair", log)
    assert side_file(log).exists()
    assert command("verify", old).code == 0


def test_side_files_of_a_damaged_line_stay_with_its_copy(log: Path, command: Command) -> None:
    change(log, b'"kind":"bytes"', b'"kind":"bites"')
    command("repair", log)
    assert side_file(log).exists()
    log.with_name(f"{log.name}.corrupt-1").unlink()
    command("repair", log)
    assert list(log.with_name(f"{log.name}.files").iterdir()) == []


def test_a_log_in_use_is_not_repaired(log: Path, command: Command) -> None:
    with ResumableSweep(range(ITEMS + 1), checkpoint_path=log, script=False):
        manifest_path(log).unlink()
        said = command("repair", log)
        assert said.code == 75
        assert "is being written by another process" in said.err
        assert not manifest_path(log).exists()


def test_a_folder_stands_for_all_that_lies_in_it(tmp_path: Path, command: Command) -> None:
    swept(run_log_path(tmp_path, "one"))
    swept(tmp_path / "two.jsonl")
    save_state(tmp_path / "model.bin", b"weights")
    write_mime_progress(tmp_path / "out.progress.json", [("a", 1)])
    said = command("verify", tmp_path, "--json").json
    names = ["one/results.jsonl", "two.jsonl", "out.progress.json", "model.bin"]
    assert [report["path"] for report in said] == [str(tmp_path / name) for name in names]
    assert all(report["whole"] for report in said)
    assert command("verify", tmp_path / "one").code == 0
    (tmp_path / "empty").mkdir()
    assert command("verify", tmp_path / "empty").code == 66


def test_a_state_is_held_against_its_manifest(tmp_path: Path, command: Command) -> None:
    state = tmp_path / "model.bin"
    save_state(state, b"weights")
    save_state(state, b"heavier")
    assert command("verify", state).code == 0
    state.write_bytes(b"damaged")
    said = command("verify", state)
    assert said.code == 1
    assert f"the older one is loaded: {state}.backup-1" in said.out
    for backup in tmp_path.glob("*.backup-1*"):
        backup.unlink()
    assert "it is refused" in command("verify", state).out


def test_a_checkpoint_of_another_package_is_checked(tmp_path: Path, command: Command) -> None:
    progress = tmp_path / "out.progress.json"
    write_mime_progress(progress, [("a", 0.5)])
    write_mime_progress(progress, [("a", 0.5), ("b", 1)])
    assert command("verify", progress).code == 0
    change(progress, b"0.5", b"0.6")
    said = command("verify", progress)
    assert said.code == 1
    assert "previous" in said.out


def mend_until_killed(log: Path, number: int) -> bool:
    """Mend the log in a process that is killed before its `number`-th change of a file; return whether it was."""
    child = os.fork()
    if child == 0:
        calls = itertools.count()
        for name in ("pwrite", "fsync", "replace", "rename", "unlink", "ftruncate"):
            original = getattr(os, name)

            def call(*given: Any, original: Callable[..., Any] = original, **named: Any) -> Any:
                if next(calls) >= number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*given, **named)

            setattr(os, name, call)
        status = 1
        try:
            mend(log, lock_timeout_s=0)
            status = 0
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


@pytest.mark.filterwarnings("ignore::resumable_sweep._opening.CheckpointFellBack")
def test_a_repair_that_is_killed_loses_nothing(log: Path, command: Command) -> None:
    wanted = swept(log)
    DAMAGES["a line"][0](log)
    DAMAGES["what is preserved"][0](log)
    side_file(log).with_name("0" * 64 + ".bin").write_bytes(b"left")
    for number in itertools.count():
        copy = log.parent.with_name(f"killed-{number}") / log.name
        shutil.copytree(log.parent, copy.parent)
        was_killed = mend_until_killed(copy, number)
        if number % 2:
            command("repair", copy)
            assert command("verify", copy).code == 0, number
        assert len(command("export", copy, "--partial").lines) == ITEMS - 1, number
        assert swept(copy) == wanted, number
        if not was_killed:
            assert number > 10
            break


def test_a_log_without_checksums_counts_as_its_manifest_says(log: Path, command: Command) -> None:
    """Version 1: nobody can tell which of its lines is damaged."""
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    old = [
        {name: value for name, value in line.items() if name != "crc32"}
        for line in lines
        if line["kind"] in ("header", "done", "complete")
    ]
    old[0]["schema_version"] = 1
    log.write_text("".join(json.dumps(line) + "\n" for line in old))
    manifest_path(log).unlink()
    assert command("verify", log).code == 0
    with ResumableSweep(range(ITEMS), checkpoint_path=log, script=False) as sweep:
        assert list(sweep.pending) == []
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[: len(old)]))
    fields = json.loads(manifest_path(log).read_bytes())
    fields.update(size_bytes=log.stat().st_size, sha256="0" * 64)
    del fields["crc32"]
    manifest_path(log).write_text(json.dumps(fields))
    said = command("verify", log)
    assert said.code == 1
    assert "all items run again" in said.out
    assert "set aside all lines" in command("repair", log).out
    assert command("verify", log).code == 0
    assert command("export", log, "--partial").out == ""
