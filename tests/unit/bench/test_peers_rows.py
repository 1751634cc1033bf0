from __future__ import annotations

from typing import Any

import pytest

from bench.peers_account import Outcome
from bench.peers_rows import rows_of, said_of


def outcome(side: str, **changed: Any) -> Outcome:
    given: dict[str, Any] = {
        "verdict": "Complete",
        "watched_s": 90.0,
        "done_before": 12,
        "to_created_s": (10.0, 12.0),
        "to_working_s": (13.0, 14.0),
        "run_again": 1,
        "missing": 0,
        "called_done": 0,
    }
    return Outcome(side=side, **{**given, **changed})


def rows(*outcomes: Outcome, way: str = "kill") -> dict[str, dict[str, Any]]:
    return {row["figure"].partition(": ")[2]: row for row in rows_of("pacer", way, outcomes)}


def test_both_jobs_are_timed_as_one_and_their_items_counted_apart() -> None:
    found = rows(
        outcome("sweep"),
        outcome("job", to_created_s=(70.0, None), run_again=12),
        outcome("job-with-bucket", to_created_s=(74.0, 75.0), run_again=11),
    )
    created = found["to replacement created"]
    assert (created["value"], created["peer"], created["goal"]) == ("11.0 s", "74.0 s, 1 of 4 never", 15.0)
    again = found["items run again"]
    assert (again["value"], again["peer"]) == (1, "12, with bucket 11")
    assert all(row["holds"] for row in found.values())


def test_a_silent_machine_may_take_longer() -> None:
    late = outcome("sweep", to_created_s=(25.0, 26.0))
    assert rows(late, way="silence")["to replacement created"]["holds"]
    assert not rows(late)["to replacement created"]["holds"]
    assert rows(late)["to replacement created"]["peer"] is None


@pytest.mark.parametrize(
    ("changed", "figure"),
    [
        ({"missing": 1}, "items missing in the end"),
        ({"called_done": 1}, "items called done that are not"),
        ({"to_created_s": (1.0, None)}, "to replacement created"),
        ({"to_working_s": (1.0, None)}, "to working again"),
    ],
)
def test_a_sweep_that_breaks_its_promise_holds_nothing(changed: dict[str, Any], figure: str) -> None:
    found = rows(outcome("sweep", **changed), outcome("job"))
    assert [name for name, row in found.items() if not row["holds"]] == [figure]


ENDED = outcome("job", watched_s=60.0)
WATCHED = outcome("job", verdict="", watched_s=400.2)


@pytest.mark.parametrize(
    ("times", "outcomes", "said"),
    [
        ([3.0, 1.0, 2.0], [ENDED], "2.0 s"),
        ([None, None], [ENDED, ENDED], "never"),
        ([None, None], [ENDED, WATCHED], "> 60 s"),
        ([None], [WATCHED], "> 400 s"),
        ([4.0, None], [ENDED], "4.0 s, 1 of 2 never"),
    ],
)
def test_what_never_came_is_said(times: list[float | None], outcomes: list[Outcome], said: str) -> None:
    assert said_of(times, outcomes) == said
