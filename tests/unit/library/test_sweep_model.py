"""The sweep against a model: whatever the order of recording, crashing, resuming and moving, nothing changes hands."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resumable_sweep import ResumableSweep, canonical_json
from resumable_sweep.contract.log_format import entries_of

ITEMS = [{"x": x} for x in range(7)]
RESULTS = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class Crash(BaseException):
    """Stands for the end of the process."""


class SweepMachine(RuleBasedStateMachine):
    """`model` is what the log in use must hold: canonical result by place in the list of items."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.number = 0
        self.model: dict[int, str] = {}
        self.sweep: ResumableSweep | None = None
        self.share: list[int] = []

    def teardown(self) -> None:
        if self.sweep is not None:
            self.sweep.__exit__(Crash, Crash(), None)
        shutil.rmtree(self.folder)

    @property
    def log(self) -> Path:
        return self.folder / str(self.number) / "results.jsonl"

    def enter(self, shard: int, shards: int, **parameters: Any) -> ResumableSweep:
        self.share = list(range(len(ITEMS)))[shard::shards]
        with patch.dict(os.environ, {"SWEEP_SHARD": str(shard), "SWEEP_SHARDS": str(shards)}):
            sweep = ResumableSweep(ITEMS, checkpoint_path=self.log, **parameters)
        self.sweep = sweep.__enter__()
        done = [place for place in self.share if place in self.model]
        assert [canonical_json(result) for result in sweep.completed] == [self.model[place] for place in done]
        return sweep

    @initialize(shards=st.integers(1, 3))
    def start(self, shards: int) -> None:
        self.enter(0, shards)

    @precondition(lambda self: self.sweep is not None)
    @rule(place=st.integers(0, 6), result=RESULTS)
    def record(self, place: int, result: Any) -> None:
        assert self.sweep is not None
        place = self.share[place % len(self.share)]
        self.model[place] = canonical_json(self.sweep.record(dict(ITEMS[place]), result))
        assert self.model[place] == canonical_json(result)

    @precondition(lambda self: self.sweep is not None)
    @rule(result=RESULTS)
    def record_the_next(self, result: Any) -> None:
        assert self.sweep is not None
        for item in self.sweep.pending:
            self.model[item["x"]] = canonical_json(self.sweep.record(item, result))
            break

    @precondition(lambda self: self.sweep is not None)
    @rule()
    def leave(self) -> None:
        assert self.sweep is not None
        self.sweep.__exit__(None, None, None)
        self.sweep = None
        last = list(entries_of(self.log.read_bytes()))[-1]
        assert (last["kind"] == "complete") is all(place in self.model for place in self.share)

    @precondition(lambda self: self.sweep is not None)
    @rule(torn=st.binary(max_size=12).filter(lambda torn: b"\n" not in torn), manifest=st.booleans())
    def crash(self, torn: bytes, manifest: bool) -> None:
        assert self.sweep is not None
        self.sweep.__exit__(Crash, Crash(), None)
        self.sweep = None
        with self.log.open("ab") as file:
            file.write(torn)
        if not manifest:
            self.log.with_name("results.jsonl.manifest.json").unlink()

    @precondition(lambda self: self.sweep is None)
    @rule(shards=st.integers(1, 4), shard=st.integers(0, 3))
    def resume(self, shards: int, shard: int) -> None:
        self.enter(shard % shards, shards)

    @precondition(lambda self: self.sweep is None)
    @rule(shards=st.integers(1, 4), shard=st.integers(0, 3))
    def move(self, shards: int, shard: int) -> None:
        source = self.log
        self.number += 1
        share = range(len(ITEMS))[shard % shards :: shards]
        self.model = {place: result for place, result in self.model.items() if place in share}
        self.enter(shard % shards, shards, resume_from=source)

    @precondition(lambda self: self.sweep is not None)
    @invariant()
    def what_is_pending_is_what_is_not_done(self) -> None:
        assert self.sweep is not None
        assert [item["x"] for item in self.sweep.pending] == [x for x in self.share if x not in self.model]


TestSweepMachine = SweepMachine.TestCase
TestSweepMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
