"""Figures of the strikes: the sweep's values, with the Jobs' as the peer's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.peers_account import Outcome
from bench.peers_ways import JOB, JOB_WITH_BUCKET, PARTITION, SIDES, SILENCE, SWEEP

_CREATED_GOAL_S = 15.0
_SILENT_GOAL_S = 30.0
"""For `PARTITION` and `SILENCE`: a machine of which nothing is heard, while its Node object stays."""


def rows_of(image: str, way: str, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the rows of one way: the sweep's figures, with both Jobs' as the peer's."""
    sweeps = [each for each in outcomes if each.side == SWEEP]
    jobs = [each for each in outcomes if each.side != SWEEP]
    created = [seconds for each in sweeps for seconds in each.to_created_s]
    working = [seconds for each in sweeps for seconds in each.to_working_s]
    head = f"{image}, {way}, {len(created)} pods"
    goal = _SILENT_GOAL_S if way in (PARTITION, SILENCE) else _CREATED_GOAL_S
    rows = [
        _row(
            f"{head}: to replacement created",
            said_of(created, sweeps),
            peer=said_of([seconds for each in jobs for seconds in each.to_created_s], jobs) if jobs else None,
            goal=goal,
            holds=None not in created and statistics.median(each for each in created if each is not None) <= goal,
        ),
        _row(
            f"{head}: to working again",
            said_of(working, sweeps),
            peer=said_of([seconds for each in jobs for seconds in each.to_working_s], jobs) if jobs else None,
            goal=None,
            holds=None not in working,
        ),
    ]
    for figure, field, must_be_none in (
        ("items done before", "done_before", False),
        ("items run again", "run_again", False),
        ("items missing in the end", "missing", True),
        ("items called done that are not", "called_done", True),
    ):
        sums = {
            side: sum(getattr(each, field) for each in outcomes if each.side == side)
            for side in SIDES
            if any(each.side == side for each in outcomes)
        }
        peer = ", with bucket ".join(str(sums[side]) for side in (JOB, JOB_WITH_BUCKET) if side in sums)
        rows.append(
            _row(
                f"{head}: {figure}",
                sums[SWEEP],
                peer=peer or None,
                goal=0 if must_be_none else None,
                holds=not must_be_none or not sums[SWEEP],
            )
        )
    return rows


def unmeasured(failed: Sequence[str]) -> dict[str, Any]:
    """Return the row that says what of the benchmark itself has failed."""
    return _row("strikes that were not measured", "; ".join(failed) or 0, peer=None, goal=0, holds=not failed)


def _row(figure: str, value: object, *, peer: str | None, goal: float | None, holds: bool) -> dict[str, Any]:
    return {"figure": figure, "value": value, "unit": "", "peer": peer, "goal": goal, "holds": holds}


def said_of(times: Sequence[float | None], outcomes: Sequence[Outcome]) -> str:
    """Return the median of `times` in words, and how many of them never came.

    `outcomes` are those that the times are of: what a side that has ended did not do, it never will.
    """
    found = [each for each in times if each is not None]
    least = min((each.watched_s for each in outcomes), default=0.0)
    absent = "never" if all(each.verdict for each in outcomes) else f"> {least:.0f} s"
    if not found:
        return absent
    median = f"{statistics.median(found):.1f} s"
    return median if len(found) == len(times) else f"{median}, {len(times) - len(found)} of {len(times)} {absent}"
