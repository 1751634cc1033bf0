"""The log under any schedule: zombies, lost replies, races for a slot, processes that die between two steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sweep_sidecar.log.entry import Kind, Stored, Writer
from sweep_sidecar.log.fencing import Misplaced, Overtaken, ShardComplete, Superseded, is_legal
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore

FOLDER = "abcd-shard-00000"
FAULTS = st.sampled_from([None, None, None, "lost", "unanswered", "raced"])


@dataclass
class Process:
    """One process of a pod: it restores where it is the first, and then writes generations."""

    attempt: int
    store: MemoryStore
    log: ShardLog
    keys: set[int] = field(default_factory=set)
    on_its_way: tuple[Kind, frozenset[int]] | None = None


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.processes: list[Process] = []
        self.attempts = 0
        self.nonces = 0
        self.next_key = 0
        self.acknowledged: list[Stored] = []
        self.durable: set[int] = set()

    @rule(faults=st.lists(FAULTS, min_size=3, max_size=3))
    def launch(self, faults: list[str | None]) -> None:
        """A relaunch: the next attempt, whatever has become of the ones before."""
        self.attempts += 1
        process = self._process(self.attempts, faults)
        try:
            found = process.log.newest_generation(process.log.take({}))
            body = {"generation": found.entry.seq if found else None, "skipped": []}
            process.log.append(Kind.BASE, body)
        except (Unreachable, Superseded, ShardComplete):
            return  # the restore failed, and with it the pod
        process.keys = set(found.entry.body["keys"]) if found else set()
        # What a restore brings back must be all that anybody was told is durable.
        assert process.keys >= self.durable
        self.processes.append(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), fault=FAULTS, kind=st.sampled_from([Kind.GEN, Kind.GEN, Kind.GEN, Kind.SEAL, Kind.COMPLETE]))
    def write(self, data: st.DataObject, fault: str | None, kind: Kind) -> None:
        """Any process that still lives writes: the shard's holder, or a zombie that has not noticed."""
        process = data.draw(st.sampled_from(self.processes), label="process")
        self._inject(process.store, [fault])
        try:
            if process.on_its_way is not None:
                settled = process.log.settle()
                assert settled is not None
                self._acknowledge(process, settled)
            self.next_key += 1
            process.keys.add(self.next_key)
            body = self._body(process, kind)
            process.on_its_way = (kind, frozenset(process.keys))
            self._acknowledge(process, process.log.append(kind, body))
        except Unreachable:
            pass
        except (Superseded, ShardComplete, Overtaken, Misplaced):
            # Fenced off, or at its end (nothing follows a seal): it stops for good.
            self.processes.remove(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def start_again_in_place(self, data: st.DataObject) -> None:
        """The container dies and is started again in its pod; what was on its way may have arrived."""
        before = data.draw(st.sampled_from(self.processes), label="process")
        if data.draw(st.booleans(), label="the one before is dead"):
            self.processes.remove(before)
        process = self._process(before.attempt, [])
        head = process.log.head()
        assert head is not None
        if head.entry.writer.attempt != process.attempt or head.entry.kind in (Kind.SEAL, Kind.COMPLETE):
            return
        process.log.follow(head)
        found = process.log.newest_generation(head)
        process.keys = set(found.entry.body["keys"]) if found else set()
        self.processes.append(process)

    @invariant()
    def the_log_is_legal(self) -> None:
        reader = LogReader(MemoryStore(self.objects), FOLDER)
        before: Stored | None = None
        keys: set[int] = set()
        for seq in range(len(self.objects)):
            found = reader.read(seq)  # no gap
            assert is_legal(before.entry if before else None, found.entry)
            assert found.entry.prev_sha256 == (before.sha256 if before else "")
            if found.entry.kind is Kind.GEN:
                assert set(found.entry.body["keys"]) > keys
                keys = set(found.entry.body["keys"])
            before = found
        assert reader.head() == before
        assert self.durable <= keys

    @invariant()
    def what_was_acknowledged_stands(self) -> None:
        reader = LogReader(MemoryStore(self.objects), FOLDER)
        for stored in self.acknowledged:
            assert reader.read(stored.entry.seq) == stored

    def _process(self, attempt: int, faults: list[str | None]) -> Process:
        self.nonces += 1
        store = MemoryStore(self.objects)
        writer = Writer(attempt, f"pod-{attempt}", str(self.nonces))
        process = Process(attempt, store, ShardLog(store, FOLDER, writer=writer, clock=lambda: 0.0))
        self._inject(store, faults)
        return process

    def _inject(self, store: MemoryStore, faults: list[str | None]) -> None:
        coming = list(faults)

        def fault(call: str, key: str) -> str | Callable[[], None] | None:
            if call != "create" or not coming:
                return None
            now = coming.pop(0)
            return self._race if now == "raced" else now

        store.fault = fault

    def _race(self) -> None:
        """Somebody else takes the shard between a look at the head and the write that follows it."""
        self.attempts += 1
        store = MemoryStore(self.objects)
        rival = ShardLog(store, FOLDER, writer=Writer(self.attempts, f"pod-{self.attempts}", "r"), clock=lambda: 0.0)
        try:
            rival.take({})
        except ShardComplete:
            return

    def _body(self, process: Process, kind: Kind) -> dict[str, Any]:
        if kind is Kind.GEN:
            return {"keys": sorted(process.keys)}
        found = process.log.newest_generation(process.log.head())
        return {"generation": found.entry.seq if found else None}

    def _acknowledge(self, process: Process, stored: Stored) -> None:
        assert process.on_its_way is not None
        kind, keys = process.on_its_way
        process.on_its_way = None
        assert stored.entry.kind is kind
        self.acknowledged.append(stored)
        if kind is Kind.GEN:
            self.durable |= keys


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLog = LogMachine.TestCase
