"""How much of its budgets a sweep has spent, beside what ends its shards in the end."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, crashed, pod, record, sweep

from sweep_operator.decide.budgets import begun, charged
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Allowance, Spec
from sweep_operator.runtime.metrics.figures import BUDGETS, budget_shares, is_unfinished

DAY = 86_400.0
LIMITS: dict[str, tuple[Signal, dict[str, Any]]] = {
    "userFailures": (Signal.CONTAINER_FAILED, {"user_failures": 3}),
    "infrastructure": (Signal.REJECTED, {"infrastructure": Allowance(4, DAY)}),
    "reclaims": (Signal.NODE_GONE, {"reclaims": Allowance(4, DAY)}),
    "noProgressAttempts": (Signal.NODE_GONE, {"no_progress_attempts": 5}),
    "unexplained": (Signal.CONTAINER_KILLED, {"unexplained": 5}),
}


def share(of: ShardRecord, budget: str, spec: dict[str, Any]) -> float:
    return budget_shares(sweep([of], **spec), now=NOW).get(budget, 0.0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_all_is_spent_when_the_next_end_fails_the_shard_and_not_before(budget: str) -> None:
    signal, limits = LIMITS[budget]
    spec: Spec = sweep(**limits).spec
    there = begun(record(attempt=1, base=1))
    shares = [share(there, budget, limits)]
    for _ in range(100):
        view = crashed() if signal.is_user_failure else pod()
        charge = charged(there.changed(signal=signal, since=NOW), pod=view, spec=spec)
        if charge.refused:
            break
        shares.append(share(charge.record.changed(state=ShardState.WAITING), budget, limits))
        there = begun(charge.record)
    assert budget in charge.refused
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(each < 1 for each in shares[:-1])


def test_the_shard_that_has_spent_most_counts_and_those_that_have_ended_do_not() -> None:
    ended = [record(2, ShardState.FAILED, user_failures=4), record(3, ShardState.COMPLETE, user_failures=3)]
    some = sweep([record(0), record(1, user_failures=2), *ended], user_failures=4)
    assert budget_shares(some, now=NOW) == {"userFailures": 0.5}


def test_a_budget_of_nothing_has_no_share() -> None:
    nothing = {"user_failures": 0, "no_progress_attempts": 1, "unexplained": 0, "reclaims": None}
    assert budget_shares(sweep([record(barren=1, unexplained=1)], **nothing), now=NOW) == {}


@pytest.mark.parametrize("phase", ["Pending", "Running", "Suspended", "Merging", "Complete", "Failed"])
def test_a_sweep_is_unfinished_until_it_is_complete_or_has_failed(phase: str) -> None:
    assert is_unfinished(sweep(status={"phase": phase})) is (phase not in ("Complete", "Failed"))
