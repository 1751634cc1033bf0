"""A disturbed run held against an undisturbed one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trial.ground import Ground
from trial.ledger import ledger_of
from trial.observer import Observer
from trial.script import Measured, Strike, measured
from trial.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is left of a sweep after all that was done to it.

    `items_lost` were durable once and are not among the results; `items_rerun` counts work done more than once.
    """

    items_total: int
    items_recorded: int
    items_duplicated: int
    items_rerun: int
    items_lost: int
    results_equal: bool
    reclaims: tuple[Measured, ...]
    wall_s: float

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return (
            self.results_equal
            and not self.items_lost
            and not self.items_duplicated
            and self.items_recorded == self.items_total
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def verdict_on(
    sweep: Sweep,
    reference: Sweep,
    ground: Ground,
    *,
    observer: Observer,
    strikes: Sequence[Strike],
    file: str,
    wall_s: float,
) -> Verdict:
    """Compare a completed sweep with a completed undisturbed one of the same items and image."""
    status = sweep.status()
    ledger = ledger_of(sweep, environment=ground.local_env)
    merged = ledger.merged(status["merged"]["sha256"])
    expected = ledger_of(reference, environment=ground.local_env).merged(reference.status()["merged"]["sha256"])
    work = observer.work_done()
    return Verdict(
        items_total=len(expected.keys),
        items_recorded=len(merged.keys),
        items_duplicated=sum(merged.keys.values()) - len(merged.keys),
        items_rerun=sum(work.values()) - len(work),
        items_lost=len(ledger.ever_durable(file) - set(merged.keys)),
        results_equal=merged.data == expected.data,
        reclaims=tuple(measured(strikes, observer, sweep, provenance=merged.provenance)),
        wall_s=round(wall_s, 1),
    )
