from __future__ import annotations

from typing import Any

from bench.peers_account import Outcome, outcome_of
from trial.follower import Ran, Worker

ITEMS = {0: frozenset("abc"), 1: frozenset("xyz")}
ALL = frozenset("abcxyz")
STRUCK_AT = 100.0


def worker(index: int, created_at: float, ran: str, *, first_at: float) -> Worker:
    """Return a pod that has finished items of one letter each, every ten seconds."""
    lines = [Ran(key=key, at=first_at + 10 * place) for place, key in enumerate(ran)]
    return Worker(pod=f"pod-{index}-{created_at:.0f}", index=index, created_at=created_at, ran=lines)


UNTOUCHED = worker(1, 80, "xyz", first_at=85)


def outcome(hit: Worker, *later: Worker, **changed: Any) -> Outcome:
    given: dict[str, Any] = {
        "struck": [hit],
        "at": STRUCK_AT,
        "workers": [hit, UNTOUCHED, *later],
        "items": ITEMS,
        "kept": ALL,
        "said_done": {0, 1},
        "verdict": "Complete",
        "watched_s": 60.0,
        **changed,
    }
    return outcome_of("side", **given)


def test_who_begins_anew_runs_again_what_was_done() -> None:
    found = outcome(worker(0, 80, "ab", first_at=85), worker(0, 112, "abc", first_at=120))
    assert (found.to_created_s, found.to_working_s) == ((12.0,), (20.0,))
    assert (found.done_before, found.run_again, found.missing, found.called_done) == (2, 2, 0, 0)


def test_an_item_that_does_not_count_in_the_end_is_no_work() -> None:
    found = outcome(
        worker(0, 80, "a", first_at=85),
        worker(0, 112, "b", first_at=120),
        worker(0, 140, "c", first_at=150),
        kept={"c"},
    )
    assert found.to_created_s == (12.0,)
    assert found.to_working_s == (50.0,)


def test_a_pod_that_goes_on_unreplaced_works_again_with_its_next_item() -> None:
    found = outcome(worker(0, 80, "abc", first_at=85))
    assert (found.to_created_s, found.to_working_s) == ((None,), (5.0,))
    assert (found.done_before, found.run_again) == (2, 0)


def test_what_is_called_done_and_is_not_is_counted() -> None:
    # Its last item came after the strike and within its grace: it does not go on for all that.
    found = outcome(worker(0, 80, "ab", first_at=92), kept=frozenset("abxyz"))
    assert (found.to_created_s, found.to_working_s) == ((None,), (None,))
    assert (found.missing, found.called_done) == (1, 1)


def test_of_an_index_that_failed_items_are_missing_and_nothing_is_made_up() -> None:
    found = outcome(worker(0, 80, "ab", first_at=85), kept=frozenset("xyz"), said_done={1}, verdict="Failed")
    assert (found.missing, found.called_done) == (3, 0)


def test_of_a_side_that_still_works_nothing_is_missing() -> None:
    found = outcome(worker(0, 80, "ab", first_at=85), kept=frozenset("ab"), said_done=set(), verdict="")
    assert (found.missing, found.called_done) == (0, 0)
