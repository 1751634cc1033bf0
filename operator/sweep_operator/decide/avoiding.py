"""Which nodes new attempts are kept away from: those that refused pods, could not keep them, or are about to go."""

from __future__ import annotations

from collections.abc import Sequence

from sweep_operator.decide.notices import OVERDUE_SECONDS
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import AvoidedNode

AVOIDED_SECONDS = 600
"""How long a node is avoided after it has failed a pod: time to be mended, or to be taken away."""

MOST_NODES = 20
"""Where more nodes fail pods it is not the nodes."""

_OF_NODE = frozenset({Signal.REJECTED, Signal.START_FAILED, Signal.NODE_PRESSURE})


def avoided(
    so_far: Sequence[AvoidedNode], *, before: Sequence[ShardRecord], after: Sequence[ShardRecord], now: float
) -> tuple[AvoidedNode, ...]:
    """Return the nodes to be avoided from now on, those that are avoided for longest first.

    `before` and `after` are the records of all shards before and after a step.
    """
    nodes = {node.name: node for node in so_far if node.until > now}
    for old, new in zip(before, after, strict=True):
        if new is old and not new.notice:
            continue  # nothing has become of it
        known = nodes.get(old.node_name)
        taken_back = old.notice.is_hard and old.deadline and not new.deadline and new.attempt == old.attempt
        if taken_back and new.state in UNDER_WAY and known is not None and known.reason == old.notice:
            del nodes[old.node_name]
        found = _avoidable(old, new, now=now)
        if found is not None and (found.name not in nodes or nodes[found.name].until < found.until):
            nodes[found.name] = found
    return tuple(sorted(nodes.values(), key=lambda node: (-node.until, node.name))[:MOST_NODES])


def _avoidable(old: ShardRecord, new: ShardRecord, *, now: float) -> AvoidedNode | None:
    if not new.node_name:
        return None
    if new.notice.is_hard and new.deadline:
        until = float(new.deadline + OVERDUE_SECONDS)
        return AvoidedNode(name=new.node_name, reason=new.notice.value, until=until) if until > now else None
    if old.state in UNDER_WAY and new.state not in UNDER_WAY and new.signal in _OF_NODE:
        return AvoidedNode(name=new.node_name, reason=new.signal.value, until=float(int(now) + AVOIDED_SECONDS))
    return None
