"""A sweep beside an Indexed Job on real kubelets, struck by the same strikes of the same nodes.

Both sides run one image on the same items, their pods on one node, which is then taken away under all of them. The Job
is written as Kubernetes' documentation advises; it is there twice, the second time with a bucket into which each pod
puts its results when it ends, and from which it begins. The pacer's items wait, as for a GPU, so that it is not this
machine's cores that are timed; the digits' items compute.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.peers_account import Outcome
from bench.peers_rows import rows_of, unmeasured
from bench.peers_trial import outcomes_of
from bench.peers_ways import DIGITS, NAMESPACE, PACER, PARTITION, SIDES, SILENCE, SWEEP, WAYS, Program
from trial.cluster import wait_until
from trial.ground import Ground, install_operator, local_ground

_Strike = tuple[Program, str, tuple[str, ...]]
_ROUNDS = 3
_SPARE_NODES = 3
_AT_ONCE = 3
_WAYS_OF_DIGITS = ("kill", "shutdown", "delete-pod", PARTITION, "exit-0")


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Strike in every way, three times, or once to be quick; medians, and sums of items. Needs Linux and root.

    The digits are struck once, in the ways that end within minutes. The Job waits for a silent machine once, for 400 s.
    Neither is there to be quick.
    """
    strikes = [
        (PACER, way, SIDES if way != SILENCE else (SWEEP,)) for _ in range(1 if quick else _ROUNDS) for way in WAYS
    ]
    if not quick:
        strikes[list(WAYS).index(SILENCE)] = (PACER, SILENCE, SIDES)
        strikes += [(DIGITS, way, SIDES) for way in _WAYS_OF_DIGITS]
    found: dict[tuple[str, str], list[Outcome]] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        ground = local_ground(
            nodes=_SPARE_NODES + 1, spot=_SPARE_NODES, gpus=0, experiment="pacer", state=Path(directory) / "cluster"
        )
        testbed = ground.testbed
        assert testbed is not None
        try:
            images = testbed.push_images(*{program.image for program, _, _ in strikes})
            ground = replace(ground, images={**ground.images, **images})
            install_operator(ground)
            for number in range(_SPARE_NODES):
                _pull(ground, f"spot-{number + 1}", *images)
            ground.cluster().create(
                "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            )
            numbered = list(enumerate(strikes))
            for computes, at_once in ((True, 1), (False, _AT_ONCE)):
                chosen = [(number, strike) for number, strike in numbered if strike[0].computes is computes]
                for what, outcome in _all_struck(ground, chosen, at_once=at_once):
                    if isinstance(outcome, BaseException):
                        # What fails must not take the others' figures along.
                        failed.append(f"{what}: {outcome!r}")
                    else:
                        found.setdefault(what, []).extend(outcome)
        finally:
            testbed.down()
    rows = [row for (image, way), outcomes in found.items() for row in rows_of(image, way, outcomes)]
    return [*rows, unmeasured(failed)]


def _all_struck(
    ground: Ground, strikes: Sequence[tuple[int, _Strike]], *, at_once: int
) -> Iterator[tuple[tuple[str, str], list[Outcome] | BaseException]]:
    """Yield what came of each strike, by its program and way, when all are over."""
    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        under_way = [
            ((program.image, way), pool.submit(_struck, ground, program, way, node=f"{way}-{number}", names=names))
            for number, (program, way, names) in strikes
        ]
        for _, future in under_way:
            future.add_done_callback(_tell_failure)
        wait(future for _, future in under_way)
        for what, future in under_way:
            yield what, future.exception() or future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _tell_failure(future: Future[list[Outcome]]) -> None:
    """Show what has failed at once: the others may take half an hour yet."""
    error = None if future.cancelled() else future.exception()
    if error is not None:
        traceback.print_exception(error)


def _struck(ground: Ground, program: Program, way: str, *, node: str, names: tuple[str, ...]) -> list[Outcome]:
    assert ground.testbed is not None
    ground.testbed.add(node, spot=True, gpus=0)
    _pull(ground, node, program.image)
    return outcomes_of(ground, program, way, node=node, names=names)


def _pull(ground: Ground, node: str, *images: str) -> None:
    """Have a node pull the images of programs, and the sidecar's: they are there in a pool that is at work."""
    cluster, pods = ground.cluster(), "/api/v1/namespaces/default/pods"
    containers = [{"name": name, "image": ground.images[name], "command": ["true"]} for name in ("sidecar", *images)]
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": containers}
    pod = cluster.create(pods, {"metadata": {"name": f"pull-{node}"}, "spec": spec})["metadata"]["name"]
    wait_until(
        lambda: cluster.get(f"{pods}/{pod}")["status"].get("phase") == "Succeeded",
        what=f"{node} to pull images",
        seconds=240,
    )
    cluster.delete(f"{pods}/{pod}", {"gracePeriodSeconds": 0})
