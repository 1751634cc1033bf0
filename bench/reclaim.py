"""From a reclaim to the replacement's creation and to the first newly recorded item, on real kubelets.

The peers' figures are those of CI jobs on a real cloud: 96 s from a reclaim with notice to the retry running, 576 s
without (elastic/kibana#291107). Here images are on the nodes already and machines are processes, so only what the
operator, the kubelet and the sidecar do is compared.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from rig.progress import say
from trial.cluster import wait_until
from trial.ground import Ground, install_operator, local_ground
from trial.ledger import ledger_of
from trial.observer import Observer
from trial.script import Measured, Strike, after_items, measured, strike
from trial.sweep import Sweep, manifest_of

_ROUNDS = 3
_SPOT_NODES = 4
_WITH_NOTICE_S, _WITHOUT_NOTICE_S = 96, 576
_PEERS = {"kill": _WITHOUT_NOTICE_S, "shutdown": _WITH_NOTICE_S, "delete-pod": _WITH_NOTICE_S}
_SPEC: dict[str, Any] = {
    "shards": 2,
    "parallelism": 2,
    "items": {"matrix": {"n": list(range(40)), "seconds": [0.5]}},
}


def figures() -> list[dict[str, Any]]:
    """Strike a sweep in each way several times; medians in seconds. Needs Linux and root."""
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        ground = local_ground(
            nodes=_SPOT_NODES + 1, spot=_SPOT_NODES, experiment="pacer", state=Path(directory) / "cluster"
        )
        assert ground.testbed is not None
        try:
            install_operator(ground)
            _run(ground, "warm-up", how=None)
            for number in range(_ROUNDS):
                for how in _PEERS:
                    ground.testbed.up(nodes=_SPOT_NODES + 1, spot=_SPOT_NODES)
                    found += _run(ground, f"{how}-{number}", how=how)
        finally:
            ground.testbed.down()
    rows = []
    for how, peer in _PEERS.items():
        mine = [each for each in found if each.how == how]
        created = [each.to_created_s for each in mine if each.to_created_s is not None]
        resumed = [each.to_resumed_s for each in mine if each.to_resumed_s is not None]
        rows.append(_row(f"{how}: to replacement created", created, peer=None, goal=15))
        rows.append(_row(f"{how}: to first new item", resumed, peer=peer, goal=peer))
    return rows


def _run(ground: Ground, name: str, *, how: str | None) -> list[Measured]:
    say(f"  {name}")
    sweep = Sweep(ground.cluster(), namespace="bench", name=name)
    sweep.apply(manifest_of(ground, name=name, namespace=sweep.namespace, experiment="pacer", **_SPEC))
    observer = Observer(sweep)
    strikes: list[Strike] = []
    if how is not None:
        wait_until(after_items(sweep, 6), what="six durable items", seconds=120)
        strikes.append(strike(sweep, ground, observer, how=how))
    status = sweep.wait_for_phase("Complete", "Failed", seconds=300)
    if status["phase"] != "Complete":
        raise RuntimeError(f"{name} did not complete: {status}")
    provenance = ledger_of(sweep, environment=ground.local_env).merged(status["merged"]["sha256"]).provenance
    observer.close()
    found = measured(strikes, observer, sweep, provenance=provenance)
    sweep.delete()
    return found


def _row(figure: str, values: list[float], *, peer: float | None, goal: float) -> dict[str, Any]:
    median = round(statistics.median(values), 2) if values else None
    return {
        "figure": f"{figure}, median of {len(values)}",
        "value": median,
        "unit": "s",
        "peer": peer,
        "goal": goal,
        "holds": median is not None and median <= goal,
    }
