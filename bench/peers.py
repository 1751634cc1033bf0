"""A sweep beside an Indexed Job on real kubelets, struck by the same strikes of the same nodes.

Both sides run one image on the same items, their pods on one node, which is then taken away under all of them. The Job
is written as Kubernetes' documentation advises; it is there twice, the second time with a bucket into which each pod
puts its results when it ends, and from which it begins. The pacer's items wait, as for a GPU, so that it is not this
machine's cores that are timed; the digits' items compute.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.peers_account import Outcome
from bench.peers_rows import rows_of
from bench.peers_trial import outcomes_of
from bench.peers_ways import DIGITS, NAMESPACE, PACER, SIDES, SILENCE, SWEEP, WAYS, Program
from trial.cluster import wait_until
from trial.ground import Ground, install_operator, local_ground

_ROUNDS = 3
_SPARE_NODES = 3
_WAYS_OF_DIGITS = ("kill", "shutdown", "delete-pod", "exit-0")


@dataclass(frozen=True, kw_only=True)
class Round:
    """Strikes in several ways, all at about the same time."""

    program: Program
    ways: tuple[str, ...]
    with_silent_job: bool = False


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Strike in every way, three times, or once to be quick; medians, and sums of items. Needs Linux and root.

    The digits are struck once, in the ways that end within minutes. The Job waits for a silent machine once, for 400 s.
    Neither is there to be quick.
    """
    rounds = [
        Round(program=PACER, ways=tuple(WAYS), with_silent_job=not quick and not n)
        for n in range(1 if quick else _ROUNDS)
    ]
    if not quick:
        rounds.append(Round(program=DIGITS, ways=_WAYS_OF_DIGITS))
    found: dict[tuple[str, str], list[Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        ground = local_ground(
            nodes=_SPARE_NODES + 1, spot=_SPARE_NODES, gpus=0, experiment="pacer", state=Path(directory) / "cluster"
        )
        testbed = ground.testbed
        assert testbed is not None
        try:
            images = testbed.push_images(*{each.program.image for each in rounds})
            ground = replace(ground, images={**ground.images, **images})
            install_operator(ground)
            _pull(ground, [f"spot-{number + 1}" for number in range(_SPARE_NODES)], *images)
            ground.cluster().create(
                "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            )
            with ThreadPoolExecutor(max_workers=len(rounds) * len(WAYS)) as pool:
                under_way = [
                    begun for number, each in enumerate(rounds) for begun in _begin(each, ground, pool, number=number)
                ]
                for what, future in under_way:
                    found.setdefault(what, []).extend(future.result())
        finally:
            testbed.down()
    return [row for (image, way), outcomes in found.items() for row in rows_of(image, way, outcomes)]


def _begin(
    each: Round, ground: Ground, pool: ThreadPoolExecutor, *, number: int
) -> list[tuple[tuple[str, str], Future[list[Outcome]]]]:
    """Live through a round; a Job that waits for a silent machine is left waiting."""
    assert ground.testbed is not None
    testbed = ground.testbed
    # Before the first strike: a node that comes up takes much of this machine.
    with ThreadPoolExecutor(max_workers=3) as adding:
        list(adding.map(lambda way: testbed.add(f"{way}-{number}", spot=True, gpus=0), each.ways))
    _pull(ground, [f"{way}-{number}" for way in each.ways], each.program.image)
    begun = {}
    for way in each.ways:
        names = SIDES if way != SILENCE or each.with_silent_job else (SWEEP,)
        begun[way] = pool.submit(outcomes_of, ground, each.program, way, node=f"{way}-{number}", names=names)
    # What failed is raised when all rounds are over: the others' figures are told by then.
    wait(future for way, future in begun.items() if way != SILENCE)
    return [((each.program.image, way), future) for way, future in begun.items()]


def _pull(ground: Ground, nodes: Sequence[str], *images: str) -> None:
    """Have nodes pull the images of programs, and the sidecar's."""
    cluster, pods = ground.cluster(), "/api/v1/namespaces/default/pods"
    for node in nodes:
        containers = [
            {"name": name, "image": ground.images[name], "command": ["true"]} for name in ("sidecar", *images)
        ]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": containers}
        cluster.create(pods, {"metadata": {"name": f"pull-{node}"}, "spec": spec})
    for node in nodes:
        pod = f"{pods}/pull-{node}"
        wait_until(
            lambda pod=pod: cluster.get(pod)["status"].get("phase") == "Succeeded",  # type: ignore[misc]
            what=f"{node} to pull images",
            seconds=240,
        )
        cluster.delete(pod, {"gracePeriodSeconds": 0})
