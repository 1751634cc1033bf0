"""Ways to break an operator, to see that the harness notices: each is called in its process before it starts.

Each is a mistake that is easily made, and that no run notices to which nothing happens.
"""

from __future__ import annotations

from typing import Any

from sweep_operator.decide import sweep as decided
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.runtime import gather
from sweep_operator.runtime.gather import Gatherer
from sweep_operator.runtime.reconciler import Reconciler


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


def gives_up_at_an_error() -> None:
    """Leave a sweep alone whose look has failed, until something about it changes."""
    look = Reconciler._attempt

    async def once(reconciler: Any, key: Any) -> str:
        result = await look(reconciler, key)
        return "done" if result == "api-error" else result

    Reconciler._attempt = once  # type: ignore[method-assign]
