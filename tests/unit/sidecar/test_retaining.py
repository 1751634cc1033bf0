"""Retention beside attempts that write: each way in which something needed could be deleted, and what is deleted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_sidecar import layout
from sweep_sidecar.blobs import FRESH_S, LEAST_AGE_S, NAME_S
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.retaining import Doomed, Span, begun_at, doomed, let_go
from sweep_sidecar.retirement import PREFIX
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.pods import FOLDER, HEADER, Cluster, line

HOUR_S = 3600.0
SPAN = Span(generations=2, after_s=LEAST_AGE_S)


class Shard:
    """A shard whose program writes one large file again and again."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder)
        self.writer = self.cluster.pod(1)
        self.keys = 0

    def write(self, content: int, *, hours: float = 0) -> None:
        """Have the program write another content, with one more record, and be looked at."""
        self.keys += 1
        self.cluster.append(1, (HEADER if self.keys == 1 else b"") + line(self.keys))
        (self.cluster.folder / "pod-1" / "big").write_bytes(b"%d" % content * 70_000)
        self.writer.look()
        self.wait(hours)

    def wait(self, hours: float) -> None:
        self.cluster.time += hours * HOUR_S

    def retain(self, span: Span = SPAN, store: MemoryStore | None = None) -> Doomed:
        store = store or self.cluster.new_store()
        began = begun_at(store, nonce=self.cluster.nonce)
        going = doomed(store, run_id="run", shards=1, span=span, began=began)
        let_go(store, going, span=span, time=0.0)
        return going

    def blobs(self) -> set[str]:
        return {key for key in self.cluster.objects if key.startswith("blobs/")}

    def restored(self) -> bytes:
        """Return the large file as the next attempt finds it."""
        found = self.cluster.restore(2)
        assert found.problem == ""
        return (self.cluster.folder / "pod-2" / "big").read_bytes()[:1]


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path)


def test_what_is_old_and_not_needed_goes_and_nothing_else(shard: Shard) -> None:
    for content in range(5):
        shard.write(content, hours=1)
    shard.wait(LEAST_AGE_S / HOUR_S)
    log = {key: data for key, data in shard.cluster.objects.items() if not key.startswith("blobs/")}
    going = shard.retain()
    assert len(going.blobs) == 3
    assert len(shard.blobs()) == 2
    assert going.size_bytes == 3 * 70_000
    assert {key: shard.cluster.objects[key] for key in log} == log
    (record,) = shard.cluster.objects.keys() - log.keys() - shard.blobs()
    assert record.startswith(PREFIX)
    assert shard.restored() == b"4"


def test_what_is_young_stays(shard: Shard) -> None:
    for content in range(5):
        shard.write(content)
    shard.wait(LEAST_AGE_S / HOUR_S)
    assert shard.retain() == Doomed()
    shard.wait(0.1)
    assert len(shard.retain().blobs) == 3


def test_nothing_is_read_in_full_where_nothing_can_go(shard: Shard) -> None:
    shard.write(1)
    shard.wait(100)
    store = shard.cluster.new_store()
    assert shard.retain(store=store) == Doomed()
    assert not [key for call, key in store.calls if call == "get" and key.startswith("blobs/")]


def test_a_content_that_comes_back_after_it_was_deleted_gets_another_name(shard: Shard) -> None:
    shard.write(0, hours=1)
    first = shard.blobs()
    for content in (1, 2, 3):
        shard.write(content, hours=NAME_S / HOUR_S)
    shard.wait(LEAST_AGE_S / HOUR_S)
    planned = doomed(
        shard.cluster.store, run_id="run", shards=1, span=SPAN, began=begun_at(shard.cluster.store, nonce=lambda: "a")
    )
    shard.retain()
    assert not first & shard.blobs()
    shard.write(0)
    # Another one that was planned before, and comes to its end only now.
    let_go(shard.cluster.store, planned, span=SPAN, time=0.0)
    assert shard.restored() == b"0"


def test_an_old_blob_that_nothing_refers_to_is_not_referred_to_anew(shard: Shard) -> None:
    """Planned before, deleted after: in between an attempt has found the content of its file in the store."""
    shard.write(0)
    for content in (1, 2, 3):
        shard.write(content)
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    store = shard.cluster.new_store()
    began = begun_at(store, nonce=shard.cluster.nonce)
    planned = doomed(store, run_id="run", shards=1, span=SPAN, began=began)
    assert planned.blobs
    shard.write(0)
    let_go(store, planned, span=SPAN, time=0.0)
    assert shard.restored() == b"0"


@pytest.mark.parametrize("hours", [1.0, FRESH_S / HOUR_S + 1, 8 * 24.0])
def test_a_writer_that_stood_still_between_its_blobs_and_its_entry_sends_them_again(shard: Shard, hours: float) -> None:
    shard.write(0)
    # The blob goes through; what follows does not, for as long as that.
    store = store_of(shard.writer)
    store.fault = lambda call, key: "lost" if key.startswith(FOLDER) else None
    with pytest.raises(Unreachable):
        shard.write(1)
    shard.wait(hours)
    shard.retain()
    store.fault = lambda call, key: None
    shard.writer.look()
    shard.retain()
    assert shard.restored() == b"1"
    assert (hours <= FRESH_S / HOUR_S) == (len(sent(store)) == 2)


def test_an_entry_that_is_lost_for_days_does_not_arrive_after_them(shard: Shard) -> None:
    shard.write(0)
    store = store_of(shard.writer)
    store.fault = lambda call, key: "lost" if key.startswith(f"{FOLDER}/log") else None
    with pytest.raises(Unreachable):
        shard.write(1)
    shard.wait(8 * 24)
    shard.retain()
    store.fault = lambda call, key: None
    shard.writer.look()
    entries = LogReader(store, FOLDER)
    head = entries.head()
    assert head is not None
    referred = set(re.findall(r"blobs/\w+\.\w+", str(head.entry.body)))
    assert referred <= shard.blobs()
    assert shard.restored() == b"1"


def test_an_entry_that_has_arrived_without_a_reply_is_recognised_after_days(shard: Shard) -> None:
    shard.write(0)
    store = store_of(shard.writer)
    store.fault = lambda call, key: "unanswered" if call == "create" and key.startswith(f"{FOLDER}/log") else None
    with pytest.raises(Unreachable):
        shard.write(1)
    slots = len(shard.cluster.kinds())
    shard.wait(8 * 24)
    store.fault = lambda call, key: None
    shard.writer.look()
    assert len(shard.cluster.kinds()) == slots
    shard.retain()
    assert shard.restored() == b"1"


def test_what_an_attempt_has_carried_along_for_weeks_stays(shard: Shard) -> None:
    shard.write(0)
    for key in range(2, 6):
        shard.cluster.append(1, line(key))
        shard.writer.look()
        shard.wait(7 * 24)
        assert not shard.retain().blobs
    assert shard.restored() == b"0"


def test_an_attempt_that_has_just_gone_back_keeps_what_it_has_gone_back_to(shard: Shard) -> None:
    """Of the entries above it, which it will not try again, none counts as one of those that are kept."""
    shard.write(0)
    for content in (1, 2, 3):
        shard.write(content)
    first = sent(store_of(shard.writer))
    for key in first[1:]:
        shard.cluster.objects[key] = b"damaged"
    assert shard.cluster.restore(2).problem == "CheckpointFellBack"
    for key in first[1:]:
        shard.cluster.objects[key] = b"%d" % first.index(key) * 70_000  # a server that has come to itself again
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    shard.retain(Span(generations=1, after_s=LEAST_AGE_S))
    assert first[0] in shard.blobs()


def test_a_damaged_generation_does_not_count_and_a_damaged_entry_ends_it_all(shard: Shard) -> None:
    for content in range(5):
        shard.write(content)
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    keys = sent(store_of(shard.writer))
    shard.cluster.objects[keys[4]] = b"damaged"
    one = Span(generations=1, after_s=LEAST_AGE_S)
    assert set(shard.retain(one).blobs) == set(keys[:3])
    head = LogReader(shard.cluster.store, FOLDER).head()
    assert head is not None
    shard.cluster.objects[layout.entry_key(FOLDER, head.entry.seq)] = b"{}"
    before = dict(shard.cluster.objects)
    assert "is damaged: see `verify`" in shard.retain(one).left_alone
    assert shard.cluster.objects == before


def test_a_gap_in_the_log_ends_it_all_until_it_lies_below_what_is_kept(shard: Shard) -> None:
    for content in range(5):
        shard.write(content)
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    del shard.cluster.objects[layout.entry_key(FOLDER, 1)]
    assert "is missing from the log: see `verify`" in shard.retain(Span(generations=6, after_s=LEAST_AGE_S)).left_alone
    assert shard.retain().blobs


def test_a_name_for_ever_is_left_alone(shard: Shard) -> None:
    """Attempts of an earlier release refer to such a blob anew, however old it is."""
    for content in range(3):
        shard.write(content)
    key = f"blobs/{'0' * 64}"
    shard.cluster.store.create(key, b"sent by another release")
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    assert shard.retain().blobs
    assert key in shard.blobs()


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_cut_off_anywhere_it_leaves_all_that_is_kept_and_the_next_one_ends_it(shard: Shard, how: str) -> None:
    for content in range(5):
        shard.write(content)
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    before, number = dict(shard.cluster.objects), 0
    kept = set(sent(store_of(shard.writer))[3:])
    is_cut_off = True
    while is_cut_off:
        number += 1
        shard.cluster.objects.clear()
        shard.cluster.objects.update(before)
        store = shard.cluster.new_store()
        store.fault = failing_from(number, how)
        try:
            shard.retain(store=store)
            is_cut_off = False
        except Unreachable:
            assert kept <= shard.blobs()
            shard.retain()
        assert shard.blobs() == kept
    assert number > (10 if how == "lost" else 5)
    assert shard.restored() == b"4"


def test_what_asks_the_store_for_its_time_does_not_pile_up(shard: Shard) -> None:
    store = shard.cluster.new_store()
    store.fault = lambda call, key: "lost" if call == "delete" else None
    for _ in range(3):
        with pytest.raises(Unreachable):
            begun_at(store, nonce=shard.cluster.nonce)
    store.fault = lambda call, key: None
    shard.wait(LEAST_AGE_S / HOUR_S + 1)
    assert begun_at(store, nonce=shard.cluster.nonce) == shard.cluster.time
    assert not [key for key in shard.cluster.objects if key.startswith("retaining/")]


@pytest.mark.parametrize(
    ("generations", "after_s", "message"),
    [(0, LEAST_AGE_S, "0 generations are to be kept"), (1, 23.5 * HOUR_S, "older than 23.5 hours .* 24 hours")],
)
def test_a_span_that_is_no_guard_is_refused(generations: int, after_s: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Span(generations=generations, after_s=after_s)


def store_of(writer: AttemptWriter) -> MemoryStore:
    assert isinstance(writer._store, MemoryStore)
    return writer._store


def sent(store: MemoryStore) -> list[str]:
    """Return the blobs that a store was asked to create, in order."""
    return list(dict.fromkeys(key for call, key in store.calls if call == "create" and key.startswith("blobs/")))


def failing_from(number: int, how: str) -> Callable[[str, str], str | None]:
    calls = 0

    def fault(call: str, key: str) -> str | None:
        nonlocal calls
        calls += 1
        return how if calls >= number and (how == "lost" or call in ("create", "delete")) else None

    return fault
