"""The harness finds what is wrong: with a library that lacks one of its precautions it must say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import resumable_sweep
from crash import damage, disk_faults, kills, power
from crash.interposer import Call, FailFrom, KillAt, chain, perform_all
from crash.programs import CALL_BY_CALL
from crash.schedules import Kind, Schedule, parsed_schedule, sampled
from crash.verdict import oracle_of
from resumable_sweep import _log

SAMPLE = 120


def finds(kind: Kind, words: str) -> bool:
    """Return whether a sample of the kind's schedules has something go wrong in these words."""
    mine = sampled((one for one in kind.schedules() if one.program == "durable"), SAMPLE, seed=1)
    return any(words in text for schedule in mine for text in kind.tried(schedule))


@pytest.fixture
def sloppy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that replaces one of the library's functions, after the oracle has seen the real one."""

    def replace(owner: Any, name: str, other: Any) -> None:
        oracle_of("durable")
        monkeypatch.setattr(owner, name, other)

    return replace


def test_records_that_are_not_synced_are_found_lost_with_the_power(sloppy: Callable[..., None]) -> None:
    sloppy(_log, "os", _Instead(os, fsync=lambda file: None))
    assert finds(power.KIND, "lost although record had returned")


def test_names_that_are_not_synced_are_found_lost_with_the_power(sloppy: Callable[..., None]) -> None:
    sloppy(_log, "make_folder", lambda folder: folder.mkdir(parents=True, exist_ok=True))
    assert finds(power.KIND, "lost although record had returned")


def test_a_record_that_returns_too_early_is_found_lost_by_a_kill(sloppy: Callable[..., None]) -> None:
    kept: list[tuple[Any, Any]] = []
    record = resumable_sweep.ResumableSweep.record

    def late(sweep: Any, item: Any, result: Any, **more: Any) -> Any:
        kept.append((item, result))
        if len(kept) > 1:
            record(sweep, *kept[-2], **more)
        if len(kept) == len(CALL_BY_CALL["durable"].items):
            record(sweep, *kept[-1], **more)

    sloppy(resumable_sweep.ResumableSweep, "record", late)
    assert finds(kills.KIND, "lost although record had returned")


def test_a_write_that_is_cut_short_and_not_gone_on_with_is_found(sloppy: Callable[..., None]) -> None:
    sloppy(_log, "write_at", lambda file, data, offset: os.pwrite(file, data[:200], offset))
    assert finds(kills.KIND, "lines are damaged")


def test_a_checksum_that_nobody_looks_at_is_found_by_flipped_bits(sloppy: Callable[..., None]) -> None:
    from resumable_sweep import _scan
    from resumable_sweep.contract import log_format

    damage.victims("durable")
    sloppy(_scan, "_fits", lambda line, body: True)
    sloppy(log_format, "check_holds", lambda line: True)
    assert finds(damage.KIND, "in silence the results are")


def test_an_error_of_the_disk_that_is_swallowed_is_found(sloppy: Callable[..., None]) -> None:
    append = _log.ResultLog.append

    def quietly(log: Any, lines: list[bytes], **more: Any) -> int:
        try:
            return append(log, lines, **more)
        except OSError:
            return int(log.end)

    sloppy(_log.ResultLog, "append", quietly)
    assert finds(disk_faults.KIND, "lost although record had returned")


class _Instead:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module = module
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return self._others[name] if name in self._others else getattr(self._module, name)


def test_a_schedule_comes_back_from_its_text() -> None:
    schedule = Schedule("kill", "durable", 17, "before", 3)
    assert parsed_schedule(str(schedule)) == schedule
    assert parsed_schedule(str(schedule)).rng.random() == schedule.rng.random()
    with pytest.raises(ValueError, match="'kill/17' is no schedule: write kind/program/at/how/seed"):
        parsed_schedule("kill/17")


def test_a_sample_gives_each_program_its_share() -> None:
    every = [Schedule("kill", name, at) for name, count in (("a", 3), ("b", 100), ("c", 100)) for at in range(count)]
    chosen = sampled(every, 43, seed=0)
    assert [sum(one.program == name for one in chosen) for name in "abc"] == [3, 20, 20]
    assert chosen == sampled(every, 43, seed=0)
    assert chosen != sampled(every, 43, seed=1)


def test_directors_are_chained_the_first_one_outermost() -> None:
    call = Call(number=0, name="pwrite", path="x", size=10, data=b"0123456789")
    told: list[Any] = []

    def outer(call: Call, perform: Any) -> Any:
        told.append("outer")
        return perform(7)

    director = chain([outer, FailFrom(1, 28, lasting=False), perform_all])
    assert director(call, lambda size=10: size) == 7
    assert told == ["outer"]
    assert KillAt(3, "before")(call, lambda size=10: size) == 10
