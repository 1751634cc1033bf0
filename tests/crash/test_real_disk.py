"""What the kernel itself refuses: a full disk, a read-only one, interrupted calls; and several processes on one log."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crash.interposer import ShortWrites
from crash.life import Life, Tell, lived
from crash.load import all_at_once
from crash.program import LOG, record
from crash.programs import BUSY, PROGRAMS
from crash.reading import reading_of
from crash.verdict import at_the_end, finished, oracle_of
from resumable_sweep import ResumableSweep

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, unshare(2)
_READ_ONLY, _REMOUNT, _BIND, _REST, _PRIVATE = 1, 32, 4096, 16384, 1 << 18  # mount(2)
DURABLE = PROGRAMS["durable"]


def mount(kind: str, target: Path, flags: int, options: str = "", source: str = "none") -> None:
    """Mount as mount(2) does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, f"mount: {os.strerror(code)}", str(target))


def in_own_mounts(script: Callable[[Path, Tell], None], root: Path) -> Life:
    """Run `script` in a process whose mounts nobody else sees, and which go with it."""

    def run(root: Path, tell: Tell) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_MOUNTS):
            tell("skip", f"unshare: {os.strerror(ctypes.get_errno())}")
            return
        mount("none", Path("/"), _REST | _PRIVATE)
        script(root, tell)

    root.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    life = lived(run, root, None)
    if life.values("skip"):
        pytest.skip(f"no mounts of one's own here: {life.values('skip')}")
    assert life.status == 0, life
    return life


def test_a_full_disk_stops_the_sweep_and_room_lets_it_go_on(tmp_path: Path) -> None:
    program = BUSY["many"]

    def script(root: Path, tell: Tell) -> None:
        mount("tmpfs", root, 0, "size=40k")
        first = lived(program.run, root, None)
        assert "No space left on device" in first.error, first
        assert LOG in first.error
        recorded = first.values("recorded")
        assert len(recorded) > 10
        assert set(recorded) == set(reading_of(root / LOG).results)
        mount("tmpfs", root, _REMOUNT, "size=4m")
        assert at_the_end(program, root, [first], bound=0, whole=True) == []
        tell("full", len(recorded))

    assert in_own_mounts(script, tmp_path / "root").values("full")


def test_a_disk_that_is_full_for_a_moment_costs_a_second_call_of_record(tmp_path: Path) -> None:
    program = BUSY["many"]

    def script(root: Path, tell: Tell) -> None:
        mount("tmpfs", root, 0, "size=40k")

        def more_room() -> None:
            mount("tmpfs", root, _REMOUNT, "size=4m")

        life = lived(lambda root, tell: program.run(root, tell, more_room), root, None)
        assert life.status == 0, life
        assert len(life.values("seen")) == 1
        assert at_the_end(program, root, [life], bound=0, whole=True) == []
        tell("went on", None)

    assert in_own_mounts(script, tmp_path / "root").values("went on")


def test_a_read_only_disk_is_refused_by_name_and_loses_nothing(tmp_path: Path) -> None:
    def script(root: Path, tell: Tell) -> None:
        finished(DURABLE, root)
        before = (root / LOG).read_bytes()
        mount("none", root, _BIND, source=str(root))
        mount("none", root, _REMOUNT | _BIND | _READ_ONLY)
        life = lived(DURABLE.run, root, None)
        assert "Read-only file system" in life.error, life
        assert LOG in life.error.rstrip().splitlines()[-1]
        assert (root / LOG).read_bytes() == before
        tell("refused", None)

    assert in_own_mounts(script, tmp_path / "root").values("refused")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_short_writes_change_nothing(tmp_path: Path, size: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    life = lived(DURABLE.run, root, ShortWrites(size))
    assert life.status == 0, life
    assert at_the_end(DURABLE, root, [life], bound=0, whole=True) == []


def test_interrupted_calls_are_made_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    program = BUSY["many"]

    def bombarded(root: Path, tell: Tell) -> None:
        count = 0

        def handler(signum: int, frame: Any) -> None:
            nonlocal count
            count += 1

        # By a clock of its own, and not by a process that sends them: that one may get no processor meanwhile.
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)
        program.run(root, tell)
        signal.setitimer(signal.ITIMER_REAL, 0)
        tell("signals", count)

    life = lived(bombarded, root, None)
    assert life.status == 0, life
    assert life.values("signals")[0] > 100
    assert at_the_end(program, root, [life], bound=0, whole=True) == []


@pytest.mark.parametrize("name", BUSY)
def test_of_several_processes_on_one_log_each_item_is_run_by_one(name: str) -> None:
    assert all_at_once(BUSY[name]) == []


def test_the_oracle_is_what_a_plain_loop_comes_to() -> None:
    oracle = oracle_of("durable")
    assert len(oracle.results) == len(DURABLE.items)
    assert oracle.completed.count("\n") == len(DURABLE.items) - 1


def test_two_sweeps_of_one_process_do_not_write_one_log(tmp_path: Path) -> None:
    with ResumableSweep(DURABLE.items, checkpoint_path=tmp_path / "log.jsonl") as sweep:
        record(sweep, DURABLE.items[0], lambda word, value: None, tmp_path)
        with pytest.raises(RuntimeError, match="is being written by another process"):
            ResumableSweep(DURABLE.items, checkpoint_path=tmp_path / "log.jsonl").__enter__()
