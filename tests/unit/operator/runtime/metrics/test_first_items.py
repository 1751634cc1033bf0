from __future__ import annotations

from builders import NOW, UID, report

from resumable_sweep.contract.report import Stage
from sweep_operator.runtime.metrics.first_items import FirstItems


class Watch:
    """The measure, a clock that is set, and what was measured."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds: list[float] = []
        self.items = FirstItems(self.seconds.append, clock=lambda: self.now)
        self.items.relaunched(UID, shard=0, attempt=2, since=NOW)


def test_it_is_measured_once_from_the_first_sign_to_the_first_new_item() -> None:
    watch = Watch()
    for later, done in ((5.0, 3), (12.0, 4), (20.0, 9)):
        watch.now = NOW + later
        watch.items.reported(UID, report(2, items_restored=3, items_done=done))
    assert watch.seconds == [12.0]


def test_what_is_restored_and_what_the_attempt_before_reports_are_no_new_items() -> None:
    watch = Watch()
    watch.items.reported(UID, report(2, stage=Stage.RESTORING, items_done=3))
    watch.items.reported(UID, report(1, items_done=4))
    watch.items.reported("another", report(2, items_done=4))
    assert watch.seconds == []


def test_a_shard_that_is_reclaimed_again_has_stood_still_since_the_first_time() -> None:
    watch = Watch()
    watch.items.relaunched(UID, shard=0, attempt=3, since=NOW + 60)
    watch.now = NOW + 100
    watch.items.reported(UID, report(3, items_done=1))
    watch.items.relaunched(UID, shard=0, attempt=4, since=NOW + 200)
    watch.now = NOW + 207
    watch.items.reported(UID, report(4, items_done=2, items_restored=1))
    assert watch.seconds == [100.0, 7.0]


def test_a_shard_that_had_nothing_left_to_do_is_not_measured_later() -> None:
    watch = Watch()
    watch.items.reported(UID, report(2, stage=Stage.COMPLETE, items_done=3, items_restored=3))
    watch.items.reported(UID, report(2, items_done=4, items_restored=3))
    assert watch.seconds == []


def test_a_sweep_that_is_gone_is_forgotten() -> None:
    watch = Watch()
    watch.items.forget(UID)
    watch.items.reported(UID, report(2, items_done=4))
    assert watch.seconds == []
