"""What is said of the attempts whose pods a look has made: of each by itself, of many at once together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sweep_operator.model.plan import CreateAttempt, SweepEvent
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import index_ranges
from sweep_operator.model.signals import Signal
from sweep_operator.runtime.events import MESSAGE_LENGTH

SINGLY = 10
"""Of so many of a kind each is told by itself, and at once.

A thousand events would delay the pods of which they tell. Where they come from Kubernetes' own recorder, similar ones
are put together from the tenth on, and beyond the 25th on an object all but one in five minutes are dropped
(k8s.io/client-go, tools/record/events_cache.go).
"""

_NODES_NAMED = 10
_ROOM_FOR_NODES = 400
"""Of a message's characters; a name may have 253, and must leave room for the shards."""


@dataclass(frozen=True)
class _Kind:
    """What those have in common of which one event can tell: the signal, and whether it is still to come."""

    signal: Signal | None
    is_ahead: bool


@dataclass(frozen=True)
class _Made:
    order: CreateAttempt
    seconds: float
    """From the reclaim, or its notice, to the pod."""


class CreationEvents:
    """What is to be said of `orders`, which are carried out together; `say` posts an event."""

    def __init__(self, orders: Iterable[CreateAttempt], *, say: Callable[[SweepEvent], None]) -> None:
        self._say = say
        self._ordered = Counter(_kind_of(order) for order in orders)
        self._untold: dict[_Kind, list[_Made]] = {}

    def made(self, order: CreateAttempt, *, at: float) -> None:
        """Note that the pod of an order was made (Unix seconds); it is told at once, unless there are many orders."""
        seconds = 0.0 if order.replaces is None else max(0.0, at - order.replaces.time)
        kind, made = _kind_of(order), _Made(order, seconds)
        if self._ordered[kind] <= SINGLY:
            self._say(_event_of_one(kind, made))
        else:
            self._untold.setdefault(kind, []).append(made)

    def tell_rest(self) -> None:
        """Tell of all that was made and not told of yet."""
        for kind, made in self._untold.items():
            if len(made) <= SINGLY:
                events = [_event_of_one(kind, each) for each in made]
            else:
                events = _events_of_many(kind, sorted(made, key=lambda each: each.order.shard))
            for event in events:
                self._say(event)
        self._untold.clear()


def _kind_of(order: CreateAttempt) -> _Kind:
    return _Kind(None if order.replaces is None else order.replaces.signal, is_ahead=order.take_after is not None)


def _event(kind: _Kind, told: str) -> SweepEvent:
    if kind.signal is None or kind.is_ahead:
        return SweepEvent(reason="AttemptCreated", message=told)
    return SweepEvent(reason="Reclaimed", message=told, warning=True)


def _event_of_one(kind: _Kind, made: _Made) -> SweepEvent:
    order, reclaim = made.order, made.order.replaces
    told = f"shard {order.shard}: attempt {order.attempt} created"
    if reclaim is not None and kind.is_ahead:
        # Not reclaimed yet: that is said when it takes over.
        told += (
            f" {made.seconds:.1f} s after {reclaim.signal} was announced, to take over from attempt {reclaim.attempt}"
        )
    elif reclaim is not None:
        told = reclaim.told(replacement=order.attempt, seconds=made.seconds)
    return _event(kind, told)


def _events_of_many(kind: _Kind, made: Sequence[_Made]) -> list[SweepEvent]:
    """Return as few events as name all shards: scattered ones may be too many for one message."""
    told = _told_of_many(kind, made)
    if len(told) <= MESSAGE_LENGTH:
        return [_event(kind, told)]
    half = len(made) // 2
    return _events_of_many(kind, made[:half]) + _events_of_many(kind, made[half:])


def _told_of_many(kind: _Kind, made: Sequence[_Made]) -> str:
    shards = index_ranges([each.order.shard for each in made])
    attempts = index_ranges(sorted(each.order.attempt for each in made))
    reclaims = [each.order.replaces for each in made if each.order.replaces is not None]
    slowest = max(each.seconds for each in made)
    if kind.signal is None:
        return f"{len(made)} shards: attempts {attempts} created, for shards {shards}"
    if kind.is_ahead:
        return (
            f"{len(made)} shards: attempts {attempts} created within {slowest:.1f} s after {kind.signal} was "
            f"announced, to take over shards {shards}"
        )
    safe = sum(reclaim.items_safe for reclaim in reclaims)
    return (
        f"{len(made)} shards were reclaimed from {_nodes_of(reclaims)} ({kind.signal}): {safe} items safe, "
        f"attempts {attempts} created within {slowest:.1f} s, for shards {shards}"
    )


def _nodes_of(reclaims: Sequence[Reclaim]) -> str:
    """Return the nodes, those first from which most was taken: of many nodes, the rest are counted."""
    counted = Counter(reclaim.node or "unknown" for reclaim in reclaims)
    nodes = [node for node, _ in counted.most_common()]
    lengths = accumulate(len(node) for node in nodes[1:_NODES_NAMED])
    named = nodes[: 1 + sum(length <= _ROOM_FOR_NODES - len(nodes[0]) for length in lengths)]
    told = f"node{'s' if len(nodes) > 1 else ''} {', '.join(named)}"
    return told if named == nodes else f"{told} and {len(nodes) - len(named)} others"
