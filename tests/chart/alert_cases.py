"""What Prometheus sees, minute by minute, when an alert is to fire, and when it must not although little is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTES = 450
ONSET = 70
"""The minute at which things change."""
LATE = 370
"""The same, where it takes six hours to see that nothing does."""


def steady(value: float) -> str:
    return f"{value}x{MINUTES}"


def growing(by: float) -> str:
    return f"0+{by}x{MINUTES}"


def turning(before: float, after: float) -> str:
    return f"{before}x{ONSET - 1} {after}x{MINUTES - ONSET}"


def jumping(by: float) -> str:
    """A counter that has counted so much at the onset, and nothing before or after."""
    return turning(0, by)


def failing(by: float) -> str:
    """A counter that grows from the onset on."""
    return f"0x{ONSET - 1} 0+{by}x{MINUTES - ONSET}"


SWEEP = 'sweep_namespace="team",sweep="lr"'
OF_SWEEP = {"sweep_namespace": "team", "sweep": "lr"}
CREATED = 'resumable_sweep_api_requests_total{verb="create",resource="pods",code="201"}'
REFUSED = 'resumable_sweep_api_requests_total{verb="create",resource="pods",code="500"}'
WATCHED = 'resumable_sweep_api_requests_total{verb="watch",resource="nodes",code="200"}'
ITEMS_DONE = f"resumable_sweep_items_done{{{SWEEP}}}"
MIRROR = 'pod="lr-x-0-1"'

CALM: Mapping[str, str] = {
    'resumable_sweep_build_info{version="1",python="3"}': steady(1),
    "resumable_sweep_ready": steady(1),
    "resumable_sweep_leader": steady(1),
    "resumable_sweep_takes_reports": steady(1),
    'resumable_sweep_watch_age_seconds{resource="pods"}': steady(55),
    "resumable_sweep_sweeps_behind_seconds": steady(0.5),
    "resumable_sweep_loop_lag_seconds": steady(0.2),
    "resumable_sweep_queue_age_seconds": steady(1),
    CREATED: growing(20),
    REFUSED: steady(0),
    WATCHED: growing(1),
    'resumable_sweep_reconciles_total{result="done"}': growing(100),
    'resumable_sweep_reconciles_total{result="error"}': steady(0),
    'resumable_sweep_attempts{heard="yes"}': steady(9),
    'resumable_sweep_attempts{heard="no"}': steady(1),
    "resumable_sweep_false_alarms_total": steady(0),
    'resumable_sweep_relaunch_seconds_bucket{le="30"}': growing(1),
    'resumable_sweep_relaunch_seconds_bucket{le="60"}': growing(1),
    'resumable_sweep_relaunch_seconds_bucket{le="120"}': growing(1),
    'resumable_sweep_relaunch_seconds_bucket{le="+Inf"}': growing(1),
    'resumable_sweep_sweeps_ended_total{phase="Complete"}': growing(1),
    'resumable_sweep_sweeps_ended_total{phase="Failed"}': steady(0),
    f'resumable_sweep_budget_spent_ratio{{{SWEEP},budget="userFailures"}}': steady(0.5),
    ITEMS_DONE: growing(1),
    f"resumable_sweep_items{{{SWEEP}}}": steady(10_000),
    f"resumable_sweep_running_attempts{{{SWEEP}}}": steady(10),
    f"resumable_sweep_mirror_items_done{{{MIRROR}}}": growing(5),
    f"resumable_sweep_mirror_items_recorded{{{MIRROR}}}": growing(5),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is otherwise than when all is calm, and what then fires: alone, `minutes` after the onset and not before.

    `labels` are those that the alert has beside its severity. Where `fires` is empty all stays silent for an hour.
    """

    what: str
    series: Mapping[str, str | None]
    fires: str = ""
    minutes: int = 0
    onset: int = ONSET
    labels: Mapping[str, str] = field(default_factory=dict)


def _unhealthy(reason: str) -> str:
    return f'resumable_sweep_unhealthy{{{SWEEP},reason="{reason}"}}'


def _ended(minutes: int) -> str:
    """1 from the onset on, for so many minutes, absent before and after."""
    return f"_x{ONSET} 1x{minutes - 1}"


CASES = (
    Case(
        what="nobody answers the scrape any more",
        series={'resumable_sweep_build_info{version="1",python="3"}': f"1x{ONSET - 1} stale"},
        fires="ResumableSweepOperatorDown",
        minutes=5,
    ),
    Case(
        what="one operator of two goes",
        series={'resumable_sweep_build_info{version="2",python="3"}': f"1x{ONSET - 1} stale"},
    ),
    Case(
        what="it is not ready",
        series={"resumable_sweep_ready": turning(1, 0)},
        fires="ResumableSweepOperatorNotReady",
        minutes=5,
    ),
    Case(what="it is not ready for a moment", series={"resumable_sweep_ready": f"1x{ONSET} 0x3 1x{MINUTES - ONSET}"}),
    Case(
        what="all stand in for each other",
        series={"resumable_sweep_leader": turning(1, 0), 'resumable_sweep_leader{pod="b"}': steady(0)},
        fires="ResumableSweepNoLeader",
        minutes=2,
    ),
    Case(
        what="another one takes over",
        series={"resumable_sweep_leader": turning(1, 0), 'resumable_sweep_leader{pod="b"}': turning(0, 1)},
    ),
    Case(
        what="a watch of pods is silent",
        series={'resumable_sweep_watch_age_seconds{resource="pods"}': turning(55, 300)},
        fires="ResumableSweepWatchStale",
        minutes=2,
        labels={"resource": "pods"},
    ),
    Case(
        what="the watch of sweeps lags behind",
        series={"resumable_sweep_sweeps_behind_seconds": turning(0, 120)},
        fires="ResumableSweepWatchStale",
        minutes=2,
    ),
    Case(
        what="a bookmark is late",
        series={'resumable_sweep_watch_age_seconds{resource="pods"}': turning(55, 170)},
    ),
    Case(
        what="the loop stands still again and again",
        series={"resumable_sweep_loop_lag_seconds": turning(0.1, 3)},
        fires="ResumableSweepLoopLag",
        minutes=5,
    ),
    Case(
        what="the loop stands still once",
        series={"resumable_sweep_loop_lag_seconds": f"0x{ONSET} 9x1 0x{MINUTES - ONSET}"},
    ),
    Case(
        what="sweeps wait for a look",
        series={"resumable_sweep_queue_age_seconds": f"0x{ONSET - 1} 61+60x{MINUTES - ONSET}"},
        fires="ResumableSweepQueueStuck",
        minutes=2,
    ),
    Case(what="sweeps wait for a while", series={"resumable_sweep_queue_age_seconds": turning(1, 50)}),
    Case(
        what="a fifth of the creations fails",
        series={REFUSED: failing(5)},
        fires="ResumableSweepApiErrors",
        minutes=10,
        labels={"verb": "create", "resource": "pods"},
    ),
    Case(what="one creation in fifty fails", series={REFUSED: failing(0.4)}),
    Case(
        what="one watch of two breaks off",
        series={'resumable_sweep_api_requests_total{verb="watch",resource="nodes",code="none"}': jumping(3)},
    ),
    Case(
        what="the right to watch pods is taken away",
        series={'resumable_sweep_api_requests_total{verb="watch",resource="pods",code="403"}': failing(1)},
        fires="ResumableSweepForbidden",
        minutes=6,
        labels={"verb": "watch", "resource": "pods"},
    ),
    Case(
        what="nodes may not be read, and a quota is used up",
        series={
            'resumable_sweep_api_requests_total{verb="list",resource="nodes",code="403"}': failing(1),
            'resumable_sweep_api_requests_total{verb="get",resource="priorityclasses",code="403"}': failing(1),
            'resumable_sweep_api_requests_total{verb="create",resource="pods",code="403"}': failing(1),
            'resumable_sweep_api_requests_total{verb="dry-run",resource="pods",code="403"}': failing(1),
        },
    ),
    Case(
        what="looks at a sweep fail",
        series={'resumable_sweep_reconciles_total{result="error"}': failing(1)},
        fires="ResumableSweepLooksFail",
        minutes=6,
    ),
    Case(
        what="looks are tried again after a conflict",
        series={'resumable_sweep_reconciles_total{result="conflict"}': failing(3)},
    ),
    Case(
        what="all reports fail to come",
        series={
            'resumable_sweep_attempts{heard="yes"}': turning(9, 0),
            'resumable_sweep_attempts{heard="no"}': turning(0, 9),
        },
        fires="ResumableSweepReportsDead",
        minutes=5,
    ),
    Case(
        what="nobody is told to report",
        series={
            "resumable_sweep_takes_reports": turning(1, 0),
            'resumable_sweep_attempts{heard="yes"}': turning(9, 0),
            'resumable_sweep_attempts{heard="no"}': turning(0, 9),
        },
    ),
    Case(
        what="nothing runs",
        series={
            'resumable_sweep_attempts{heard="yes"}': turning(9, 0),
            'resumable_sweep_attempts{heard="no"}': turning(1, 0),
        },
    ),
    Case(
        what="four attempts were not dead",
        series={"resumable_sweep_false_alarms_total": jumping(4)},
        fires="ResumableSweepFalseAlarms",
    ),
    Case(what="one attempt was not dead", series={"resumable_sweep_false_alarms_total": jumping(1)}),
    Case(
        what="replacements take two minutes",
        series={
            'resumable_sweep_relaunch_seconds_bucket{le="30"}': f"0+1x{ONSET - 1} {ONSET}x{MINUTES - ONSET}",
            'resumable_sweep_relaunch_seconds_bucket{le="60"}': f"0+1x{ONSET - 1} {ONSET}x{MINUTES - ONSET}",
        },
        fires="ResumableSweepRelaunchSlow",
        minutes=18,
    ),
    Case(
        what="one replacement takes two minutes",
        series={
            'resumable_sweep_relaunch_seconds_bucket{le="120"}': f"0+1x{ONSET - 1} {ONSET + 1}+1x{MINUTES - ONSET}",
            'resumable_sweep_relaunch_seconds_bucket{le="+Inf"}': f"0+1x{ONSET - 1} {ONSET + 1}+1x{MINUTES - ONSET}",
        },
    ),
    Case(
        what="a sweep fails",
        series={'resumable_sweep_sweeps_ended_total{phase="Failed"}': jumping(1)},
        fires="ResumableSweepFailed",
    ),
    Case(
        what="sweeps have failed before",
        series={'resumable_sweep_sweeps_ended_total{phase="Failed"}': steady(7)},
    ),
    Case(
        what="a shard has spent a budget",
        series={f'resumable_sweep_budget_spent_ratio{{{SWEEP},budget="infrastructure"}}': turning(0.1, 0.9)},
        fires="ResumableSweepBudgetNearlySpent",
        minutes=1,
        labels={**OF_SWEEP, "budget": "infrastructure"},
    ),
    Case(
        what="a shard has failed twice of three times",
        series={f'resumable_sweep_budget_spent_ratio{{{SWEEP},budget="userFailures"}}': turning(0, 0.67)},
    ),
    Case(
        what="no item is stored any more",
        series={ITEMS_DONE: f"0+1x{LATE - 361} {LATE - 360}x{MINUTES}"},
        fires="ResumableSweepNoProgress",
        minutes=5,
        onset=LATE,
        labels=OF_SWEEP,
    ),
    Case(
        what="nobody knows how many items there are",
        series={ITEMS_DONE: steady(0), f"resumable_sweep_items{{{SWEEP}}}": None},
        onset=LATE,
    ),
    Case(
        what="a sweep is suspended",
        series={
            ITEMS_DONE: steady(9),
            f"resumable_sweep_running_attempts{{{SWEEP}}}": steady(0),
        },
        onset=LATE,
    ),
    Case(
        what="a sweep has just begun",
        series={ITEMS_DONE: f"_x{LATE} 0x{MINUTES - LATE}"},
        onset=LATE,
    ),
    Case(
        what="a sweep waits for room",
        series={_unhealthy("Unschedulable"): _ended(300)},
        fires="ResumableSweepUnhealthy",
        minutes=30,
        labels=OF_SWEEP,
    ),
    Case(what="a sweep has waited for room", series={_unhealthy("Unschedulable"): _ended(25)}),
    Case(
        what="the store is away",
        series={_unhealthy("StoreUnreachable"): _ended(20)},
        fires="ResumableSweepNotStored",
        minutes=10,
        labels={**OF_SWEEP, "reason": "StoreUnreachable"},
    ),
    Case(what="the store was away", series={_unhealthy("StoreUnreachable"): _ended(5)}),
    Case(
        what="a mirror stores nothing more",
        series={f"resumable_sweep_mirror_items_done{{{MIRROR}}}": f"0+5x{ONSET - 1} {5 * ONSET - 5}x{MINUTES - ONSET}"},
        fires="ResumableSweepMirrorBehind",
        minutes=20,
        labels={"pod": "lr-x-0-1"},
    ),
    Case(
        what="a mirror is five minutes behind",
        series={f"resumable_sweep_mirror_items_done{{{MIRROR}}}": f"0x5 0+5x{MINUTES}"},
    ),
)
