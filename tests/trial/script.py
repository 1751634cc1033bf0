"""A schedule of faults: each strikes when the sweep has come so far, at a pod that works."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trial.cluster import wait_until
from trial.ground import Ground
from trial.observer import AttemptSeen, Observer
from trial.sweep import Sweep

HOWS = ("kill", "shutdown", "notice", "delete-pod")


@dataclass(frozen=True)
class Strike:
    """What was done to a working attempt; `at` in Unix seconds."""

    how: str
    at: float
    node: str
    attempts: tuple[AttemptSeen, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one reclaim of one attempt led to; seconds from the strike, None where it did not happen."""

    how: str
    signal: str
    node: str
    shard: int
    attempt: int
    to_created_s: float | None
    to_resumed_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as the report has them."""
        return dict(vars(self))


def strike(
    sweep: Sweep,
    ground: Ground,
    observer: Observer,
    *,
    how: str,
    spare: Sequence[str] = (),
    at_most_done: int | None = None,
) -> Strike:
    """Take away the working pod with most of its work before it, in one of `HOWS`.

    Nodes in `spare` are left alone, and so is a shard with more than `at_most_done` items: it could finish within its
    grace, and there would be nothing to see.
    """
    pod = wait_until(lambda: _victim(sweep, observer, spare, at_most_done), what="a working pod to strike", seconds=120)
    node = pod["spec"]["nodeName"]
    attempt = int(pod["metadata"]["labels"]["resumable.dev/attempt"])
    hit = [seen for seen in observer.attempts() if seen.attempt == attempt]
    at = time.time()
    if how == "kill":
        done = ground.faults.kill(node)
    elif how == "shutdown":
        done = ground.faults.shutdown(node)
    elif how == "notice":
        done = ground.faults.announce(node)
    else:
        sweep.cluster.delete(f"/api/v1/namespaces/{sweep.namespace}/pods/{pod['metadata']['name']}")
        done = how
    return Strike(how=done, at=at, node=node, attempts=tuple(hit))


def _victim(sweep: Sweep, observer: Observer, spare: Sequence[str], at_most_done: int | None) -> dict[str, Any] | None:
    done: Counter[int] = Counter()
    for seen in observer.attempts():
        done[seen.shard] += len(seen.ran)
    working = [pod for pod in sweep.working_pods() if pod["spec"]["nodeName"] not in spare]
    # A shard that has not begun has nothing to lose yet.
    begun = [
        pod for pod in working if done[_shard(pod)] and (at_most_done is None or done[_shard(pod)] <= at_most_done)
    ]
    return min(begun, key=lambda pod: done[_shard(pod)], default=None)


def _shard(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["resumable.dev/shard"])


def after_items(sweep: Sweep, done: int) -> Callable[[], bool]:
    """Return a condition: so many of the sweep's items are durable, or it has ended."""

    def reached() -> bool:
        status = sweep.status()
        return status.get("done", 0) >= done or status.get("phase") in ("Complete", "Failed")

    return reached


def measured(
    strikes: Sequence[Strike], observer: Observer, sweep: Sweep, *, provenance: Sequence[Any]
) -> list[Measured]:
    """Return what each strike led to, from the pods seen, the events, and the times at which items were recorded."""
    signals = reclaim_signals(sweep)
    figures = []
    for each in strikes:
        for hit in each.attempts:
            successor = observer.successor_of(hit.shard, hit.attempt)
            resumed = [
                float(entry["ended"])
                for entry in provenance
                if successor is not None and entry["shard"] == hit.shard and int(entry["attempt"]) >= successor.attempt
            ]
            figures.append(
                Measured(
                    how=each.how,
                    signal=signals.get((hit.shard, successor.attempt), "") if successor else "",
                    node=each.node,
                    shard=hit.shard,
                    attempt=hit.attempt,
                    to_created_s=round(successor.created_at - each.at, 2) if successor else None,
                    to_resumed_s=round(min(resumed) - each.at, 2) if resumed else None,
                )
            )
    return figures


def reclaim_signals(sweep: Sweep) -> dict[tuple[int, int], str]:
    """Return the signals that won, by shard and number of the attempt that replaced the lost one."""
    found = {}
    for event in sweep.events("Reclaimed"):
        words = event["message"].replace(",", " ").split()
        # shard S was reclaimed from node N (SIGNAL): I items safe, attempt A created after T s
        signal = event["message"].partition("(")[2].partition(")")[0]
        found[(int(words[1]), int(words[words.index("attempt") + 1]))] = signal
    return found
