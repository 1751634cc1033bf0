from __future__ import annotations

from builders import NOW, placed, pod, snapshot, sweep
from hypothesis import given
from hypothesis import strategies as st

from sweep_operator.decide import decide
from sweep_operator.decide.rate import SLOT_SECONDS, WINDOW_SECONDS, counted, look_again_at
from sweep_operator.model.snapshot import ReclaimCount


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 3)), min_size=1, max_size=60))
def test_what_is_counted_is_the_last_hour_give_or_take_five_minutes(steps: list[tuple[int, int]]) -> None:
    now, counts, all_of_them = NOW, (), []
    for pause, new in steps:
        now += pause
        counts = counted(counts, new=new, now=now)
        all_of_them += [now] * new
        total = sum(each.count for each in counts)
        assert sum(now - at < WINDOW_SECONDS - SLOT_SECONDS for at in all_of_them) <= total
        assert total <= sum(now - at <= WINDOW_SECONDS for at in all_of_them)
        assert len(counts) <= WINDOW_SECONDS // SLOT_SECONDS


def test_an_old_count_is_forgotten_when_it_was_said() -> None:
    counts = counted((), new=2, now=NOW)
    at = look_again_at(counts)
    assert at is not None
    assert counted(counts, new=0, now=at - 1) == counts
    assert counted(counts, new=0, now=at) == ()


def test_a_reclaim_is_counted_once() -> None:
    of = sweep([placed(), placed(1, attempt=2)])
    plan = decide(snapshot(of, pod(), pod(2, shard=1), nodes=[]), NOW)
    assert [each.count for each in plan.status.recent_reclaims] == [2]
    again = sweep(plan.status.records, status={"recent_reclaims": plan.status.recent_reclaims})
    assert decide(snapshot(again), NOW).status.recent_reclaims == plan.status.recent_reclaims


def test_nobody_asks_for_the_rate_of_a_sweep_that_has_ended() -> None:
    of = sweep([placed(user_failures=3)], status={"recent_reclaims": (ReclaimCount(NOW, 4),)})
    crashed = pod(phase="Failed", mains=(pod().mains[0].__class__(name="main", started=True, exit_code=1),))
    plan = decide(snapshot(of, crashed), NOW)
    assert (plan.status.phase, plan.status.recent_reclaims) == ("Failed", ())
