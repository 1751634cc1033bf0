"""The sweep against a model: whatever the order of recording, failing, crashing, resuming and moving, all is kept."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resumable_sweep import ItemsInvalid, ResumableSweep, canonical_json
from resumable_sweep.contract.log_format import completion_of, entries_of

COUNT = 7
RESULTS = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class Crash(BaseException):
    """Stands for the end of the process."""


class SweepMachine(RuleBasedStateMachine):
    """What the log in use must hold, by the items' places in the list: `done` canonical results, `skipped` reasons,
    `failures` counts, and of those that are neither done nor skipped `last` says how they ended last."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.number = 0
        self.count = COUNT
        self.done: dict[int, str] = {}
        self.skipped: dict[int, str] = {}
        self.failures: dict[int, int] = {}
        self.last: dict[int, str] = {}
        self.sweep: ResumableSweep | None = None
        self.is_lazy = False
        self.max_attempts = 3
        self.share: list[int] = []

    def teardown(self) -> None:
        if self.sweep is not None:
            self.sweep.__exit__(Crash, Crash(), None)
        shutil.rmtree(self.folder)

    @property
    def log(self) -> Path:
        return self.folder / str(self.number) / "results.jsonl"

    @property
    def to_do(self) -> list[int]:
        return [
            x
            for x in self.share
            if x not in self.done
            and x not in self.skipped
            and not (self.last.get(x) == "failed" and self.failures[x] >= self.max_attempts)
        ]

    def enter(self, shard: int, shards: int, **parameters: Any) -> ResumableSweep:
        self.share = list(range(self.count))[shard::shards]
        items: Any = [{"x": x} for x in range(self.count)]
        with patch.dict(os.environ, {"SWEEP_SHARD": str(shard), "SWEEP_SHARDS": str(shards)}):
            sweep = ResumableSweep(
                iter(items) if self.is_lazy else items,
                checkpoint_path=self.log,
                on_error="ignore",
                max_attempts=self.max_attempts,
                **parameters,
            )
        self.sweep = sweep.__enter__()
        if not self.is_lazy:
            done = [place for place in self.share if place in self.done]
            assert [canonical_json(result) for result in sweep.completed] == [self.done[place] for place in done]
        return sweep

    def place(self, number: int) -> int:
        return self.share[number % len(self.share)]

    def is_known(self, place: int) -> bool:
        """Whether the sweep has got the item yet."""
        return not self.is_lazy or place in self.taken

    @property
    def taken(self) -> list[int]:
        assert self.sweep is not None
        return [item["x"] for item in self.sweep._ledger.values]

    @initialize(shards=st.integers(1, 3), every=st.sampled_from([None, 1, 3]), lazily=st.booleans())
    def start(self, shards: int, every: int | None, lazily: bool) -> None:
        self.is_lazy = lazily
        self.enter(0, shards, checkpoint_every=every)

    @precondition(lambda self: self.sweep is not None)
    @rule(number=st.integers(0, 9), result=RESULTS)
    def record(self, number: int, result: Any) -> None:
        assert self.sweep is not None
        place = self.place(number)
        if self.is_known(place):
            self.done[place] = canonical_json(self.sweep.record({"x": place}, result))
            assert self.done[place] == canonical_json(result)

    @precondition(lambda self: self.sweep is not None)
    @rule(number=st.integers(0, 9), error=st.sampled_from(["by hand", "\udc80", ValueError("no root")]))
    def fail(self, number: int, error: Any) -> None:
        assert self.sweep is not None
        place = self.place(number)
        if not self.is_known(place):
            with pytest.raises(ItemsInvalid, match="not an item"):
                self.sweep.fail({"x": place}, error)
        elif place in self.done:
            with pytest.raises(ItemsInvalid, match="done already"):
                self.sweep.fail({"x": place}, error)
        else:
            self.sweep.fail({"x": place}, error)
            self.skipped.pop(place, None)
            self.failures[place] = self.failures.get(place, 0) + 1
            self.last[place] = "failed"

    @precondition(lambda self: self.sweep is not None)
    @rule(number=st.integers(0, 9), why=st.sampled_from(["no need", "\udc80"]))
    def skip(self, number: int, why: str) -> None:
        assert self.sweep is not None
        place = self.place(number)
        if place not in self.done and self.is_known(place):
            self.sweep.skip({"x": place}, why)
            self.skipped[place] = why
            self.last.pop(place, None)

    @precondition(lambda self: self.sweep is not None)
    @rule(result=RESULTS, ending=st.sampled_from(["record", "fail", "none"]))
    def take_the_next(self, result: Any, ending: str) -> None:
        assert self.sweep is not None
        expected = self.to_do
        item = next(self.sweep.pending, None)
        assert (None if item is None else item["x"]) == next(iter(expected), None)
        if item is None:
            return
        self.last[item["x"]] = "started"
        if ending == "record":
            self.done[item["x"]] = canonical_json(self.sweep.record(item, result))
        elif ending == "fail":
            with self.sweep.trying(item):
                raise ArithmeticError
            self.failures[item["x"]] = self.failures.get(item["x"], 0) + 1
            self.last[item["x"]] = "failed"

    @precondition(lambda self: self.sweep is not None)
    @rule()
    def add_an_item(self) -> None:
        assert self.sweep is not None
        if self.count < COUNT + 3:
            self.sweep.extend([{"x": self.count}])
            shards = self.sweep._settings.shards
            self.share = list(range(self.count + 1))[self.sweep._settings.shard :: shards]
            self.count += 1

    @precondition(lambda self: self.sweep is not None)
    @rule()
    def leave(self) -> None:
        assert self.sweep is not None
        is_exhausted = self.sweep._entered().handing_out.is_exhausted
        self.sweep.__exit__(None, None, None)
        self.sweep = None
        is_over = all(x in self.done or x in self.skipped for x in self.share) and is_exhausted
        completion = completion_of(list(entries_of(self.log.read_bytes())))
        assert (completion is not None) is is_over
        if completion is not None:
            skipped = sum(x in self.skipped and x not in self.done for x in self.share)
            assert (completion["total"], completion["skipped"]) == (len(self.share), skipped)

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
    @rule(
        shards=st.integers(1, 4), shard=st.integers(0, 3), every=st.sampled_from([None, 2]), lazily=st.booleans(),
        attempts=st.integers(1, 4),
    )  # fmt: skip
    def resume(self, shards: int, shard: int, every: int | None, lazily: bool, attempts: int) -> None:
        self.is_lazy, self.max_attempts = lazily, attempts
        self.enter(shard % shards, shards, checkpoint_every=every)

    @precondition(lambda self: self.sweep is None)
    @rule(shards=st.integers(1, 4), shard=st.integers(0, 3))
    def move(self, shards: int, shard: int) -> None:
        source, self.is_lazy = self.log, False
        self.number += 1
        share = range(self.count)[shard % shards :: shards]
        for known in (self.done, self.skipped, self.failures, self.last):
            for place in set(known) - set(share):
                del known[place]  # type: ignore[attr-defined]
        for place in [place for place, how in self.last.items() if how == "started"]:
            # That it was begun is not brought along; but how often it had failed before is.
            del self.last[place]
            if self.failures.get(place):
                self.last[place] = "failed"
        self.failures = {place: count for place, count in self.failures.items() if place in self.last}
        self.enter(shard % shards, shards, resume_from=source)

    @precondition(lambda self: self.sweep is None and not self.skipped and not self.failures)
    @rule()
    def become_of_version_1(self) -> None:
        kept = []
        for entry in entries_of(self.log.read_bytes().rpartition(b"\n")[0] + b"\n"):
            if entry["kind"] == "header":
                entry["schema_version"] = 1
            if entry["kind"] in ("header", "done"):
                kept.append(json.dumps(entry, separators=(",", ":")) + "\n")
        self.log.write_text("".join(kept))
        self.log.with_name("results.jsonl.manifest.json").unlink(missing_ok=True)
        self.last.clear()

    @precondition(lambda self: self.sweep is not None)
    @invariant()
    def every_item_is_in_its_state(self) -> None:
        assert self.sweep is not None
        known = self.taken
        done = {item["x"]: canonical_json(result) for item, result in self.sweep.results()}
        assert done == {place: result for place, result in self.done.items() if place in known}
        skipped = {one.item["x"]: one.why for one in self.sweep.find_skipped()}
        assert skipped == {x: why for x, why in self.skipped.items() if x not in self.done and x in known}
        failed = {one.item["x"]: one.attempts for one in self.sweep.find_failed()}
        unsettled = [x for x in self.share if x not in self.done and x not in self.skipped and x in known]
        assert failed == {x: self.failures[x] for x in unsettled if self.last.get(x) == "failed"}
        assert [one["x"] for one in self.sweep.find_in_progress()] == [
            x for x in unsettled if self.last.get(x) == "started"
        ]
        stats = self.sweep.stats()
        assert stats.completed + stats.failed + stats.skipped + stats.in_progress + stats.missing == len(known)

    @precondition(lambda self: self.sweep is not None)
    @rule()
    def take_all(self) -> None:
        assert self.sweep is not None
        to_do = self.to_do
        assert [item["x"] for item in self.sweep.pending] == to_do
        self.last.update(dict.fromkeys(to_do, "started"))


TestSweepMachine = SweepMachine.TestCase
TestSweepMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
