from __future__ import annotations

from typing import Any

import pytest
from builders import NODE, pod, record, report, restore

from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Stage
from sweep_operator.decide.progress import made_progress, newest_report, progress_of


def said(**fields: Any) -> Outcome:
    return Outcome("Said", "", {"run_id": "r", "shard": 0, "attempt": 1, "stage": "sealed", "sequence": 1, **fields})


def test_a_node_that_cannot_be_seen_is_known_by_its_name_until_it_can() -> None:
    unseen = progress_of(record(), pod=pod(), incarnation="", report=None).record
    assert (unseen.node_name, unseen.incarnation) == (NODE, "")
    seen = progress_of(unseen, pod=pod(), incarnation="abc", report=None).record
    assert (seen.node_name, seen.incarnation) == (NODE, "abc")
    assert progress_of(seen, pod=pod(), incarnation="", report=None).record == seen
    assert progress_of(seen, pod=pod(), incarnation="def", report=None).record == seen


def test_the_latest_word_counts_pushed_or_left_behind() -> None:
    pushed = report(sequence=5, items_done=5)
    assert newest_report(pod(mirror_outcome=said(sequence=6, items_done=6)), pushed).items_done == 6  # type: ignore[union-attr]
    assert newest_report(pod(mirror_outcome=said(sequence=4, items_done=4)), pushed) == pushed
    assert newest_report(pod(), None) is None


def test_last_words_in_another_form_are_passed_over() -> None:
    assert newest_report(pod(mirror_outcome=said(items_done=-1)), None) is None
    assert newest_report(pod(mirror_outcome=Outcome("Crashed", "", {})), None) is None


def test_durable_items_never_become_fewer() -> None:
    progress = progress_of(record(base=1, done=5), pod=pod(), incarnation="", report=report(items_done=3))
    assert progress.record.done == 5


def test_what_was_recorded_but_not_durable_is_lost_with_the_attempt() -> None:
    before = record(done=3, recorded=5)
    progress = progress_of(before, pod=pod(), incarnation="", report=report(items_restored=3, items_done=3))
    assert progress.newly_lost == 2
    assert (progress.record.base, progress.record.recorded) == (4, 3)


def test_losses_are_counted_once() -> None:
    first = progress_of(record(recorded=5), pod=pod(), incarnation="", report=report(items_restored=3))
    again = progress_of(first.record, pod=pod(), incarnation="", report=report(sequence=2, items_restored=3))
    assert (first.newly_lost, again.newly_lost) == (2, 0)


def test_damage_in_the_store_is_said_once_and_counts_what_is_left() -> None:
    found = report(items_restored=2, items_done=2, restore_problem="CheckpointFellBack", restore_message="went back")
    first = progress_of(record(done=5, recorded=6), pod=pod(), incarnation="", report=found)
    assert first.damaged is not None
    assert (first.damaged.reason, first.damaged.warning) == ("CheckpointFellBack", True)
    assert "went back" in first.damaged.message
    assert (first.record.done, first.newly_lost) == (2, 4)
    again = progress_of(first.record, pod=pod(), incarnation="", report=found)
    assert (again.damaged, again.newly_lost) == (None, 0)


def test_nothing_is_lost_while_the_checkpoint_is_still_being_restored() -> None:
    before = record(done=5, recorded=5)
    progress = progress_of(before, pod=pod(), incarnation="", report=report(stage=Stage.RESTORING))
    assert (progress.newly_lost, progress.record.base) == (0, 0)


def test_a_restore_that_has_ended_says_what_it_restored() -> None:
    progress = progress_of(
        record(recorded=5),
        pod=pod(**restore(0)),
        incarnation="",
        report=report(stage=Stage.RESTORING, items_restored=4),
    )
    assert (progress.newly_lost, progress.record.base) == (1, 5)


def test_progress_that_was_never_heard_of_shows_in_what_is_restored() -> None:
    before = record(done=2, setbacks=4)
    progress = progress_of(before, pod=pod(), incarnation="", report=report(items_restored=9, items_done=9))
    assert progress.record.setbacks == 0


@pytest.mark.parametrize(
    ("base", "done", "made"),
    [(0, 5, False), (6, 5, False), (6, 6, True)],
    ids=["unknown start", "no new item", "one new item"],
)
def test_progress_is_a_new_durable_item(base: int, done: int, made: bool) -> None:
    assert made_progress(record(base=base, done=done)) is made
