"""Ways to break an operator, to see that the harness notices: each is called in its process before it starts.

Each is a mistake that is easily made, and that no run notices to which nothing happens.
"""

from __future__ import annotations

from typing import Any

from sweep_operator.decide import sweep as decided
from sweep_operator.kube.informer import Informer
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.runtime import gather
from sweep_operator.runtime.gather import Gatherer


def uses_numbers_again() -> None:
    """Go on with a shard under the number of the attempt that it has lost."""
    allocate = decided._Draft._allocate

    def careless(draft: Any, record: Any) -> None:
        attempts = draft.status.attempts
        allocate(draft, record)
        order = draft.actions[-1]
        if record.attempt and isinstance(order, CreateAttempt):
            draft.actions[-1] = decided.replace(order, attempt=record.attempt)
            draft.records[record.shard] = draft.records[record.shard].changed(attempt=record.attempt)
            draft.status = decided.replace(draft.status, attempts=attempts)

    decided._Draft._allocate = careless  # type: ignore[method-assign]


def believes_its_cache() -> None:
    """Take a pod that the cache does not show for one that is gone."""

    async def denied(gatherer: Any, sweep: Any, pod: Any) -> None:
        return None

    Gatherer._ask_for = denied  # type: ignore[method-assign]
    gather.missing.__globals__["CACHE_LAG_SECONDS"] = 0.0


def misses_what_went_between_watches() -> None:
    """Compare nothing when a collection is listed anew."""
    listing = Informer._list

    async def blind(informer: Any) -> str:
        there = dict(informer._objects)
        drop, informer._drop = informer._drop, lambda key: None
        try:
            return await listing(informer)
        finally:
            informer._drop = drop
            for key, view in there.items():
                informer._objects.setdefault(key, view)

    Informer._list = blind  # type: ignore[method-assign]
