"""The harness finds what it is there for: restore and mirror with a mistake in them, each a known and tempting one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crash.schedules import parsed_schedule
from faults.run import undisturbed, wrong_in_run
from faults.servers import running
from sweep_sidecar.content import ContentReader
from sweep_sidecar.log.fencing import Superseded
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.store import Unreachable

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def servers() -> Iterator[None]:
    with running(["gcs"]):
        undisturbed("gcs")  # before anything is broken
        yield


def test_a_store_that_does_not_answer_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LogReader._highest

    def mistaken(log: LogReader) -> int | None:
        try:
            return whole(log)
        except Unreachable:
            return None

    monkeypatch.setattr(LogReader, "_highest", mistaken)
    wrong = wrong_in_run(parsed_schedule("store-gone/gcs/9/alone/0"))
    assert wrong


def test_damage_believed_at_the_first_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContentReader, "_segment", ContentReader._fetch)
    assert any("nothing is damaged" in text for text in wrong_in_run(parsed_schedule("store-flipped/gcs/4/zombies/0")))


def test_an_acknowledgement_of_what_may_never_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    look = AttemptWriter.look

    def hasty(writer: AttemptWriter, **last: Any) -> None:
        try:
            look(writer, **last)
        except Unreachable:
            published = writer._on_its_way[1] if writer._on_its_way else None
            if published is None:
                raise
            head = writer._log._head
            assert head is not None
            writer._published = type(published)(**{**vars(published), "seq": head.entry.seq + 1})
            writer._acknowledge()
            raise

    monkeypatch.setattr(AttemptWriter, "look", hasty)
    assert wrong_in_run(parsed_schedule("store-overload/gcs/16/zombies/0"))


def test_a_writer_that_does_not_mind_being_shut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = ShardLog.settle

    def careless(log: ShardLog, **how: Any) -> Any:
        try:
            return settle(log, **how)
        except Superseded:
            log._head = log.head()
            return log._head

    monkeypatch.setattr(ShardLog, "settle", careless)
    wrong = wrong_in_run(parsed_schedule("store-slow/gcs/3/zombies/0"))
    assert any("shut out" in text for text in wrong), wrong
