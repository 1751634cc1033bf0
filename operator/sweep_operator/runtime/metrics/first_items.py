"""When a reclaimed shard comes to its next stored item: what a reclaim has really cost it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from resumable_sweep.contract.report import Report, Stage


class FirstItems:
    """Measures from a reclaim's first sign to the first new item. `clock` gives Unix seconds.

    `measured` is called with the seconds of each. Held in memory only: a restart of the operator costs a figure, and
    nothing else.
    """

    def __init__(self, measured: Callable[[float], None], *, clock: Callable[[], float]) -> None:
        self._measured = measured
        self._clock = clock
        self._since: dict[str, dict[int, tuple[int, float]]] = defaultdict(dict)

    def relaunched(self, sweep_uid: str, *, shard: int, attempt: int, since: float) -> None:
        """Expect an item of a shard whose replacement was made; `since` is the reclaim's first sign (Unix seconds).

        Where the attempt before had none to show either, the shard has stood still since its own reclaim.
        """
        known = self._since[sweep_uid].get(shard)
        self._since[sweep_uid][shard] = (attempt, since if known is None else known[1])

    def reported(self, sweep_uid: str, report: Report) -> None:
        """Take in what an attempt's sidecar says."""
        expected = self._since.get(sweep_uid, {})
        attempt, since = expected.get(report.shard, (0, 0.0))
        if report.attempt != attempt or report.stage is Stage.RESTORING:
            return
        if report.items_done > report.items_restored:
            del expected[report.shard]
            self._measured(max(0.0, self._clock() - since))
        elif report.stage is Stage.COMPLETE:
            del expected[report.shard]

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        self._since.pop(sweep_uid, None)
