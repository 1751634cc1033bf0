from __future__ import annotations

from builders import UID

from sweep_operator.model.observed import Creation
from sweep_operator.runtime.attempts import Attempts


def test_what_was_seen_is_kept_in_mind() -> None:
    attempts = Attempts()
    attempts.note(UID, 1, Creation(created_at=5))
    attempts.saw(UID, {1, 2})
    assert attempts.of(UID) == {1: Creation(created_at=5, seen=True)}, "2 was allocated by another process"


def test_only_current_attempts_are_kept() -> None:
    attempts = Attempts()
    attempts.note(UID, 1, Creation())
    attempts.note(UID, 2, Creation())
    attempts.keep_only(UID, {2})
    assert list(attempts.of(UID)) == [2]


def test_a_gone_sweep_is_forgotten() -> None:
    attempts = Attempts()
    attempts.note(UID, 1, Creation())
    attempts.note_housekeeping(UID, "merge", Creation())
    attempts.forget_housekeeping(UID, "resolve")
    assert list(attempts.housekeeping_of(UID)) == ["merge"]
    attempts.forget(UID)
    assert (attempts.of(UID), attempts.housekeeping_of(UID)) == ({}, {})
