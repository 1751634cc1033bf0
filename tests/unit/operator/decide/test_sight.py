from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, record, snapshot, sweep

from sweep_operator.decide.sight import blind_spots
from sweep_operator.decide.summary import problems_of
from sweep_operator.decide.sweep import decide
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal

SEES_ALL = {"listening_since": NOW - 60}


@pytest.mark.parametrize(
    ("known", "conditions"),
    [
        (SEES_ALL, {}),
        ({**SEES_ALL, "nodes_visible": False}, {"NodeAccess": "NodesForbidden"}),
        ({"listening_since": None}, {"ReportAccess": "ReportsNotTaken"}),
        (
            {"listening_since": None, "nodes_visible": False},
            {"NodeAccess": "NodesForbidden", "ReportAccess": "ReportsNotTaken"},
        ),
    ],
    ids=["all", "no nodes", "no reports", "neither"],
)
def test_what_is_not_seen_is_said_on_the_sweep(known: dict[str, Any], conditions: dict[str, str]) -> None:
    said = {each.type: each for each in decide(snapshot(sweep([record()]), **known), NOW).status.conditions}
    assert {name: said[name].reason for name in ("NodeAccess", "ReportAccess") if name in said} == conditions
    assert not any(said[name].status for name in conditions)
    # Such an installation is as it should be: nothing is wrong with its sweeps.
    assert said["Healthy"].status


def test_it_is_unsaid_when_the_rights_are_there() -> None:
    before = decide(snapshot(sweep([record()]), nodes_visible=False), NOW).status.conditions
    of = sweep([record()], status={"conditions": before})
    types = {each.type for each in decide(snapshot(of, **SEES_ALL), NOW + 60).status.conditions}
    assert not types & {"NodeAccess", "ReportAccess"}


def test_it_is_said_since_when() -> None:
    first = decide(snapshot(sweep([record()]), nodes_visible=False), NOW).status.conditions
    again = decide(
        snapshot(sweep([record()], status={"conditions": first}), nodes_visible=False), NOW + 60
    ).status.conditions
    (since,) = (each.since for each in again if each.type == "NodeAccess")
    assert since == NOW


def test_sentences_say_what_follows() -> None:
    nodes, reports = blind_spots(snapshot(sweep([record()]), nodes_visible=False), now=NOW)
    assert "is seen when its pods are deleted" in nodes.message
    assert "never by exit code" in reports.message


@pytest.mark.parametrize(("listening_since", "mend"), [(NOW - 60, "set spec.completion"), (None, "no exit code can")])
def test_no_mend_is_told_that_needs_reports_where_there_are_none(listening_since: float | None, mend: str) -> None:
    unproven = record(0, ShardState.WAITING, attempt=1, signal=Signal.UNPROVEN)
    (problem,) = problems_of(snapshot(sweep([unproven]), listening_since=listening_since), [unproven], now=NOW)
    assert mend in problem.message
