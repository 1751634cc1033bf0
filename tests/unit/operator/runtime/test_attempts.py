from __future__ import annotations

from builders import NODE, UID, chore, node, pod

from sweep_operator.model.observed import Creation, Role
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


def test_where_a_pod_was_first_seen_is_kept_while_its_attempt_is_current() -> None:
    attempts = Attempts()
    first, second = node(boot_id="a"), node(boot_id="b")
    attempts.saw_on(UID, [pod(1), chore(Role.MERGE), pod(2, node="unknown")], {NODE: first})
    attempts.saw_on(UID, [pod(1)], {NODE: second})
    assert attempts.placements(UID) == {1: first.incarnation}
    attempts.keep_only(UID, {2})
    assert attempts.placements(UID) == {}


def test_a_gone_sweep_is_forgotten() -> None:
    attempts = Attempts()
    attempts.note(UID, 1, Creation())
    attempts.note_housekeeping(UID, "merge", Creation())
    attempts.forget_housekeeping(UID, "resolve")
    assert list(attempts.housekeeping_of(UID)) == ["merge"]
    attempts.saw_on(UID, [pod(1)], {NODE: node()})
    attempts.forget(UID)
    assert attempts.placements(UID) == {}
    assert (attempts.of(UID), attempts.housekeeping_of(UID)) == ({}, {})
