"""When a look follows from what is seen of pods."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, chore, ended, main, pod

from resumable_sweep.contract.outcome import Outcome
from sweep_operator.model.observed import PodView, Role
from sweep_operator.runtime.pod_index import LONGEST_PATIENCE_SECONDS, PATIENCE_PER_POD, PodIndex
from sweep_operator.runtime.work_queue import IDLE_SECONDS, WorkQueue

COMES = pod(1, phase="Pending", node="", mains=())
USUAL = {
    "it is made": (None, COMES),
    "it finds a node": (COMES, pod(1, phase="Pending", mains=(main(started=False),))),
    "it starts": (COMES, pod(1)),
    "it is deleted when it has ended": (pod(1, phase="Failed"), pod(1, phase="Failed", deleted=True)),
    "it is gone when it has ended": (pod(1, phase="Failed", deleted=True), None),
}
NEWS = {
    "gone": (pod(1), None),
    "deleted": (pod(1), pod(1, deleted=True)),
    "disrupted": (pod(1), pod(1, disruption="DeletionByTaintManager")),
    "refused": (COMES, pod(1, phase="Pending", reason="OutOfcpu")),
    "succeeded": (pod(1), pod(1, phase="Succeeded")),
    "failed": (pod(1), pod(1, phase="Failed")),
    "its program ended": (pod(1), pod(1, mains=(ended(0), main("other")))),
    "disrupted, it ended": (pod(1, disruption="DeletionByTaintManager"), pod(1, phase="Failed")),
    "deleted, it is gone": (pod(1, deleted=True), None),
    "a chore's, ended, is gone": (chore(Role.MERGE, phase="Failed"), None),
    "its mirror ended": (pod(1), pod(1, mirror_outcome=Outcome("Sealed", ""))),
}


class Desk:
    """An index of one sweep with so many pods that run, at whose next look one can see when it comes."""

    def __init__(self, pods: int) -> None:
        self.now = NOW
        self.queue = WorkQueue(clock=lambda: self.now)
        self.index = PodIndex(self.queue)
        for number in range(2, pods + 2):
            self.index.pod_changed(None, pod(number, shard=number))
        self.queue.forget(("ns", "lr"))

    def waits(self, old: PodView | None, new: PodView | None) -> float:
        """Return how long the look at a change waits (seconds)."""
        if old is not None:
            self.index.pod_changed(None, old)
            self.queue.forget(("ns", "lr"))
        self.index.pod_changed(old, new)
        self.now += LONGEST_PATIENCE_SECONDS + 1
        return LONGEST_PATIENCE_SECONDS + 1 - self.queue.oldest_due_seconds()


@pytest.mark.parametrize("change", NEWS.values(), ids=NEWS)
@pytest.mark.parametrize("pods", [1, 5000])
def test_what_may_call_for_something_is_looked_at_at_once(change: tuple[Any, Any], pods: int) -> None:
    assert Desk(pods).waits(*change) == pytest.approx(IDLE_SECONDS, abs=1e-6)


@pytest.mark.parametrize("change", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize(
    ("pods", "seconds"),
    [(1, IDLE_SECONDS), (200, IDLE_SECONDS), (5000, 5001 * PATIENCE_PER_POD), (20_000, LONGEST_PATIENCE_SECONDS)],
)
def test_that_one_of_thousands_goes_its_way_or_is_cleared_away_can_wait(
    change: tuple[Any, Any], pods: int, seconds: float
) -> None:
    assert Desk(pods).waits(*change) == pytest.approx(seconds, abs=2 * PATIENCE_PER_POD)


def test_news_do_not_wait_behind_what_can_wait() -> None:
    desk = Desk(5000)
    desk.index.pod_changed(None, COMES)
    assert desk.waits(pod(7, shard=7), None) == pytest.approx(IDLE_SECONDS, abs=1e-6)
