from __future__ import annotations

from typing import Any

import pytest
from builders import ended, main, node, pod

from resumable_sweep.contract.report import Experiment
from sweep_operator.model.observed import NodeView, PodView
from sweep_operator.runtime.server import experiment_of

ALL_ZERO = (ended(0, name="a"), ended(0, name="b"))


@pytest.mark.parametrize(
    ("fields", "where", "expected"),
    [
        ({"mains": ()}, node(), Experiment.UNKNOWN),
        ({"mains": (main(), ended(0))}, node(), Experiment.RUNNING),
        ({"mains": ALL_ZERO}, node(), Experiment.SUCCEEDED),
        ({"mains": ALL_ZERO}, None, Experiment.SUCCEEDED),
        ({"mains": (ended(0), ended(1))}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO, "deleted": True}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO, "disruption": "EvictionByEvictionAPI"}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO}, node(shutting_down=True), Experiment.FAILED),
        ({"mains": ALL_ZERO}, node(terminating="karpenter.sh/disrupted"), Experiment.FAILED),
        ({"mains": (main(),), "deleted": True}, node(), Experiment.RUNNING),
    ],
    ids=[
        "not started",
        "one still runs",
        "all exited 0",
        "all exited 0, nodes unreadable",
        "one exited 1",
        "exit 0 under deletion proves nothing",
        "exit 0 under eviction proves nothing",
        "exit 0 under a node's shutdown proves nothing",
        "exit 0 on a node about to be removed proves nothing",
        "still flushing under deletion",
    ],
)
def test_what_the_sidecar_hears_of_the_experiment(
    fields: dict[str, Any], where: NodeView | None, expected: Experiment
) -> None:
    view: PodView = pod(**fields)
    assert experiment_of(view, where) is expected
