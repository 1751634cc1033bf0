from __future__ import annotations

from builders import UID, report

from resumable_sweep.contract.report import Stage
from sweep_operator.runtime.report_board import ReportBoard


def test_the_newest_report_is_kept_whatever_the_order_of_arrival() -> None:
    board = ReportBoard()
    board.post(UID, report(sequence=2, items_done=2))
    board.post(UID, report(sequence=1, items_done=9))
    board.post(UID, report(sequence=2, items_done=9))
    assert board.of(UID)[1].items_done == 2


def test_only_a_new_stage_or_problem_is_worth_a_look() -> None:
    board = ReportBoard()
    assert board.post(UID, report(sequence=1))
    assert not board.post(UID, report(sequence=2, items_done=5))
    assert board.post(UID, report(sequence=3, problem="StoreUnreachable"))
    assert not board.post(UID, report(sequence=4, problem="StoreUnreachable", message="still"))
    assert board.post(UID, report(sequence=5))
    assert board.post(UID, report(sequence=6, stage=Stage.SEALED))


def test_reports_of_former_attempts_are_dropped() -> None:
    board = ReportBoard()
    board.post(UID, report(1))
    board.post(UID, report(2))
    board.keep_only(UID, {2})
    assert list(board.of(UID)) == [2]
    board.forget(UID)
    assert board.of(UID) == {}
    board.keep_only("never heard of", set())
