"""Retention beside attempts that write, under any schedule: pauses of days, deaths, lost replies, damage, relaunches.

Held against the model of a shard without it: the newest generations that are whole stay whole, and every restore brings
back what it would have brought back.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from sweep_sidecar.retaining import Span, begun_at, doomed, let_go
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.test_shard_model import FAULTS, LOG, Killed, ShardMachine

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
HOURS = st.sampled_from([0.5, 2.0, 5.0, 7.0, 11.0, 13.0, 25.0, 200.0])
ON_ITS_WAY_S = 5 * HOUR_S
"""Longer than this no request for an entry is on its way: what is built on, and said in
docs/design/2026-11-retention-beside-writers.md."""


class RetentionMachine(ShardMachine):
    contents = 3

    def __init__(self) -> None:
        super().__init__()
        self.interruptions: list[tuple[int, Callable[[str, str], None]]] = []
        self.is_interrupted = False
        self.calls = 0
        self.swept: set[str] = set()

    @rule(hours=HOURS)
    def wait(self, hours: float) -> None:
        self.cluster.time += hours * HOUR_S

    @rule(hours=HOURS, keep=st.integers(1, 3))
    def go_on_for_a_while_and_retain(self, hours: float, keep: int) -> None:
        if self.pods:
            self.go_well_for_a_while(big=True)
        self.cluster.time += hours * HOUR_S
        self._retain(self.cluster.new_store(), keep)

    @rule(keep=st.integers(1, 3), faults=FAULTS)
    def retain(self, keep: int, faults: list[str | None]) -> None:
        store = self.cluster.new_store()
        self._inject(store, faults)
        self._retain(store, keep)

    @rule(calls=st.integers(1, 12), hours=HOURS, keep=st.integers(1, 3), retains=st.booleans())
    def be_interrupted(self, calls: int, hours: float, keep: int, retains: bool) -> None:
        """In the middle of whatever comes next all stands still for some time, and retention runs meanwhile."""

        def interruption(call: str, key: str) -> None:
            entry = call == "create" and key.startswith(LOG)
            self.cluster.time += min(hours * HOUR_S, ON_ITS_WAY_S) if entry else hours * HOUR_S
            if retains:
                self._retain(self.cluster.new_store(), keep)

        self.interruptions.append((self.calls + calls, interruption))

    @invariant()
    def no_name_comes_back(self) -> None:
        assert not self.swept & self.objects.keys()

    def _retain(self, store: MemoryStore, keep: int) -> None:
        self._observe()
        before = dict(self.objects)
        whole = [each for each in self.written if not each.objects & self.damaged]
        newest = sorted(whole, key=lambda each: each.seq)[-keep:]
        span = Span(generations=keep, after_s=DAY_S)
        try:
            began = begun_at(store, nonce=self.cluster.nonce)
            going = doomed(store, run_id="run", shards=1, span=span, began=began)
            let_go(store, going, span=span, time=0.0)
        except (Unreachable, Killed):
            pass
        finally:
            store.fault = lambda call, key: None
        gone = {key for key in before.keys() - self.objects.keys() if key.startswith("blobs/")}
        needed = set[str]().union(*(each.objects for each in newest))
        assert not gone & (needed - self.damaged), (gone, newest)
        self.swept |= gone
        self.written = [each for each in self.written if not each.objects & gone]

    def _inject(self, store: MemoryStore, faults: list[str | None]) -> None:
        super()._inject(store, faults)
        fault = store.fault

        def interrupted(call: str, key: str) -> object:
            self.calls += 1
            due = [each for each in self.interruptions if each[0] <= self.calls]
            if due and not self.is_interrupted:
                self.interruptions = [each for each in self.interruptions if each not in due]
                self.is_interrupted = True
                for _, interruption in due:
                    interruption(call, key)
                self.is_interrupted = False
            return fault(call, key)

        store.fault = interrupted  # type: ignore[assignment]


RetentionMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestRetention = RetentionMachine.TestCase
