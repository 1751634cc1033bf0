"""The programs that are struck beside one another, and the ways in which they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rig import Testbed

NAMESPACE = "peers"
SWEEP, JOB, JOB_WITH_BUCKET = "sweep", "job", "job-with-bucket"
SIDES = (SWEEP, JOB, JOB_WITH_BUCKET)
PARTITION = "partition"
SILENCE = "silence"
"""A machine dies, and its Node object stays."""
_NODE_DELETED_AFTER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Program:
    """An image and what runs in it; `matrix` makes so many items."""

    image: str
    command: tuple[str, str]
    matrix: Callable[[int], dict[str, list[Any]]]
    computes: bool = False
    """Whether its items share this machine's cores: then one strike is watched at a time, and for twice as long."""


PACER = Program(
    image="pacer",
    command=("python3", "/opt/pacer/experiment.py"),
    matrix=lambda items: {"n": list(range(items)), "seconds": [1]},
)
"""Items of a second that wait, as for a GPU: what is timed is not how many of them share two cores."""
DIGITS = Program(
    image="digits",
    command=("/opt/venv/bin/python", "/opt/digits/experiment.py"),
    matrix=lambda items: {"model": ["forest"], "size": [10], "noise": [4], "seed": list(range(items))},
    computes=True,
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way in which pods lose their node, or their life. Each shard has so many `items`."""

    strike: Callable[[Testbed, str, list[str]], None]
    exits_0: bool = False
    is_healed: bool = False
    items: int = 60
    limit_s: float = 300.0


def _kill(testbed: Testbed, node: str, _pods: list[str]) -> None:
    testbed.reclaim(node, how="kill", node_delete_after=_NODE_DELETED_AFTER_S)


def _kill_only(testbed: Testbed, node: str, _pods: list[str]) -> None:
    testbed.reclaim(node, how="kill", node_delete_after=3600)


def _shut_down(testbed: Testbed, node: str, _pods: list[str]) -> None:
    testbed.reclaim(node, how="shutdown", node_delete_after=_NODE_DELETED_AFTER_S)


def _delete_pods(testbed: Testbed, _node: str, pods: list[str]) -> None:
    for pod in pods:
        testbed.reclaim_pod(pod, namespace=NAMESPACE)


def _partition(testbed: Testbed, node: str, _pods: list[str]) -> None:
    testbed.reclaim(node, how="partition")


WAYS: dict[str, Way] = {
    "kill": Way(strike=_kill),
    "shutdown": Way(strike=_shut_down),
    "delete-pod": Way(strike=_delete_pods),
    PARTITION: Way(strike=_partition, is_healed=True, items=120),
    "exit-0": Way(strike=_shut_down, exits_0=True),
    SILENCE: Way(strike=_kill_only, limit_s=400.0),
}
