"""When a state is saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._checkpointer import Checkpointer
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._state import load_state


@dataclass
class Disk:
    """Stands for `save_state`: takes its time, and may fail."""

    now: float = 0.0
    takes: float = 0.0
    failing: bool = False
    saved: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, path: str, state: Any, extra: Any, *, keep: int) -> None:
        self.now += self.takes
        if self.failing:
            raise OSError("the disk is full")
        self.saved.append((path, state, extra, keep))


def test_every_so_many_steps() -> None:
    disk = Disk()
    checkpointer = Checkpointer("it", every_steps=3, keep=5, save=disk)
    assert [checkpointer.step(bytes([step]), {"step": step}) for step in range(7)] == [False, False, True] * 2 + [False]
    assert disk.saved == [("it", b"\2", {"step": 2}, 5), ("it", b"\5", {"step": 5}, 5)]


def test_every_so_many_seconds_counted_from_the_end_of_the_last_save() -> None:
    disk = Disk(now=100.0, takes=4.0)
    checkpointer = Checkpointer("it", every_seconds=10.0, save=disk, clock=lambda: disk.now)
    assert checkpointer.save_seconds is None
    saved_at = []
    for _ in range(33):
        disk.now += 1.0
        if checkpointer.step(b""):
            saved_at.append(disk.now - 100)
    assert saved_at == [14.0, 28.0, 42.0]
    assert checkpointer.save_seconds == 4.0


def test_whichever_comes_first() -> None:
    disk = Disk()
    checkpointer = Checkpointer("it", every_steps=5, every_seconds=10.0, save=disk, clock=lambda: disk.now)
    due = []
    for seconds in (1.0, 1.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        disk.now += seconds
        due.append(checkpointer.step(b""))
    assert due == [False, False, True, False, False, False, False, True]


def test_a_save_by_hand_starts_the_interval_anew() -> None:
    disk = Disk()
    checkpointer = Checkpointer("it", every_steps=2, save=disk)
    checkpointer.step(b"")
    checkpointer.save(b"by hand")
    assert not checkpointer.step(b"")
    assert checkpointer.step(b"")
    assert [saved[1] for saved in disk.saved] == [b"by hand", b""]


def test_a_save_that_failed_is_due_at_the_next_step() -> None:
    disk = Disk(failing=True)
    checkpointer = Checkpointer("it", every_steps=2, save=disk)
    checkpointer.step(b"")
    with pytest.raises(OSError, match="full"):
        checkpointer.step(b"")
    assert checkpointer.save_seconds is None
    disk.failing = False
    assert checkpointer.step(b"")


def test_what_is_not_due_is_not_made(tmp_path: Path) -> None:
    made = []

    def write(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"costly")

    checkpointer = Checkpointer(tmp_path / "it", every_steps=2)
    checkpointer.step(write)
    assert not made
    checkpointer.step(write, {"step": 2})
    loaded = load_state(tmp_path / "it")
    assert loaded is not None
    assert (loaded.read_bytes(), loaded.extra, len(made)) == (b"costly", {"step": 2}, 1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "pass every_steps= or every_seconds="),
        ({"every_steps": 0}, "every_steps=0 must be a whole number of 1 or more"),
        ({"every_steps": 1.5}, "every_steps=1.5 must be"),
        ({"every_seconds": 0}, "every_seconds=0 must be seconds, more than 0"),
        ({"every_seconds": float("nan")}, "every_seconds=nan must be"),
    ],
)
def test_intervals_that_are_none_are_told(given: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingsInvalid, match=match):
        Checkpointer("it", **given)
