from __future__ import annotations

from builders import UID, report

from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.runtime.report_board import ReportBoard


def test_the_newest_report_is_kept_whatever_the_order_of_arrival() -> None:
    board = ReportBoard()
    board.post(UID, report(sequence=2, items_done=2))
    board.post(UID, report(sequence=1, items_done=9))
    board.post(UID, report(sequence=2, items_done=9))
    assert board.of(UID)[1].items_done == 2


def test_only_a_new_stage_problem_or_notice_is_worth_a_look() -> None:
    board = ReportBoard()
    assert board.post(UID, report(sequence=1))
    assert not board.post(UID, report(sequence=2, items_done=5))
    assert board.post(UID, report(sequence=3, problem="StoreUnreachable"))
    assert not board.post(UID, report(sequence=4, problem="StoreUnreachable", message="still"))
    assert board.post(UID, report(sequence=5))
    assert board.post(UID, report(sequence=6, stage=Stage.SEALED))
    assert board.post(UID, report(sequence=7, stage=Stage.SEALED, notice=NoticeKind.GCE_PREEMPTED))
    assert not board.post(UID, report(sequence=8, stage=Stage.SEALED, notice=NoticeKind.GCE_PREEMPTED))


def test_that_a_restore_has_taken_its_shard_is_worth_a_look_how_far_it_is_is_not() -> None:
    board = ReportBoard()
    board.post(UID, report(sequence=1, stage=Stage.RESTORING))
    assert board.post(UID, report(sequence=2, stage=Stage.RESTORING, restore_bytes=9))
    assert not board.post(UID, report(sequence=3, stage=Stage.RESTORING, restore_bytes=9, restored_bytes=5))


def test_it_is_kept_when_an_attempt_was_last_heard_of() -> None:
    now = [5.0]
    board = ReportBoard(clock=lambda: now[0])
    board.post(UID, report(sequence=2))
    now[0] = 7
    board.post(UID, report(sequence=1))
    assert board.heard_at(UID) == {1: 5}, "what was late was not said now"
    board.post(UID, report(sequence=3))
    assert board.heard_at(UID) == {1: 7}
    board.keep_only(UID, set())
    assert board.heard_at(UID) == {}


def test_reports_of_former_attempts_are_dropped() -> None:
    board = ReportBoard()
    board.post(UID, report(1))
    board.post(UID, report(2))
    board.keep_only(UID, {2})
    assert list(board.of(UID)) == [2]
    board.forget(UID)
    assert board.of(UID) == {}
    board.keep_only("never heard of", set())
