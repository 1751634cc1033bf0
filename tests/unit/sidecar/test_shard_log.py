from __future__ import annotations

from dataclasses import replace

import pytest

from sweep_sidecar import layout
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, NewerSchema, Writer
from sweep_sidecar.log.fencing import Overtaken, ShardComplete, Superseded
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore

FOLDER = "abcd-shard-00000"


def opened(objects: dict[str, bytes], attempt: int, *, pod: str = "", nonce: str = "n") -> tuple[MemoryStore, ShardLog]:
    store = MemoryStore(objects)
    writer = Writer(attempt, pod or f"pod-{attempt}", nonce)
    return store, ShardLog(store, FOLDER, writer=writer, clock=lambda: 12.5)


def begun(objects: dict[str, bytes], attempt: int) -> tuple[MemoryStore, ShardLog]:
    store, log = opened(objects, attempt)
    found = log.newest_generation(log.take({}))
    log.append(Kind.BASE, {"generation": found.entry.seq if found else None, "skipped": []})
    return store, log


def test_entries_follow_each_other_newest_first_in_a_listing() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 3)
    log.append(Kind.GEN, {"n": 1})
    assert sorted(objects) == [
        f"{FOLDER}/log/999999999997.json",
        f"{FOLDER}/log/999999999998.json",
        f"{FOLDER}/log/999999999999.json",
    ]
    head = LogReader(MemoryStore(objects), FOLDER).head()
    assert head is not None
    assert (head.entry.seq, head.entry.kind, head.entry.body) == (2, Kind.GEN, {"n": 1})
    assert head.entry.prev_sha256 == log.read(1).sha256


def test_the_head_is_one_listing_and_one_read() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    for number in range(50):
        log.append(Kind.GEN, {"n": number})
    store = MemoryStore(objects)
    LogReader(store, FOLDER).head()
    assert [call for call, _ in store.calls] == ["list", "get"]


def test_the_newest_generation_is_found_past_attempts_that_wrote_none() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    generation = log.append(Kind.GEN, {"n": 1})
    for attempt in range(2, 6):
        begun(objects, attempt)
    reader = LogReader(MemoryStore(objects), FOLDER)
    assert reader.newest_generation(reader.head()) == generation


def test_a_take_fences_every_older_attempt() -> None:
    objects: dict[str, bytes] = {}
    _, zombie = begun(objects, 7)
    zombie.append(Kind.GEN, {"n": 40})
    begun(objects, 8)
    with pytest.raises(Superseded, match="attempt 8"):
        zombie.append(Kind.GEN, {"n": 60})
    _, late = opened(objects, 7, nonce="restarted")
    with pytest.raises(Superseded, match="attempt 8"):
        late.take({})


def test_a_lost_reply_is_recognised_as_the_own_write() -> None:
    objects: dict[str, bytes] = {}
    store, log = begun(objects, 1)
    store.fault = lambda call, key: "unanswered" if call == "create" else None
    with pytest.raises(Unreachable):
        log.append(Kind.GEN, {"n": 1})
    with pytest.raises(Unreachable):
        log.settle()
    store.fault = lambda call, key: None
    written = log.settle()
    assert written is not None
    assert (written.entry.seq, written.entry.body) == (2, {"n": 1})
    assert log.settle() is None
    assert log.append(Kind.GEN, {"n": 2}).entry.seq == 3


def test_nothing_is_written_past_an_entry_on_its_way() -> None:
    store, log = begun({}, 1)
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable):
        log.append(Kind.GEN, {"n": 1})
    store.fault = lambda call, key: None
    with pytest.raises(RuntimeError, match="settle it first"):
        log.append(Kind.GEN, {"n": 2})


def test_a_write_on_its_way_that_a_successor_overtakes_is_lost() -> None:
    objects: dict[str, bytes] = {}
    store, log = begun(objects, 1)
    store.fault = lambda call, key: "lost" if call == "create" else None
    with pytest.raises(Unreachable):
        log.append(Kind.COMPLETE, {"generation": None})
    begun(objects, 2)
    store.fault = lambda call, key: None
    with pytest.raises(Superseded, match="attempt 2"):
        log.settle()


def test_whoever_races_a_complete_obeys_it() -> None:
    objects: dict[str, bytes] = {}
    _, predecessor = begun(objects, 1)
    store, successor = opened(objects, 2)

    def complete_first(call: str, key: str) -> object:
        store.fault = lambda call, key: None
        return lambda: predecessor.append(Kind.COMPLETE, {"generation": None})

    # Between the successor's look at the head and its take.
    store.fault = lambda call, key: complete_first(call, key) if call == "create" else None  # type: ignore[assignment,return-value]
    with pytest.raises(ShardComplete):
        successor.take({})


def test_a_process_started_again_in_its_pod_goes_on_and_shuts_out_the_one_before() -> None:
    objects: dict[str, bytes] = {}
    _, before = begun(objects, 1)
    _, after = opened(objects, 1, nonce="second")
    after.follow(after.head())
    assert after.append(Kind.GEN, {"n": 1}).entry.seq == 2
    with pytest.raises(Overtaken):
        before.append(Kind.GEN, {"n": 2})


def test_what_a_read_finds_wrong_is_named() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    log.append(Kind.GEN, {"n": 1})
    begun(objects, 2)
    reader = LogReader(MemoryStore(objects), FOLDER)
    key = layout.entry_key(FOLDER, 2)
    whole = objects[key]
    entry = log.read(2).entry
    another = replace(entry, body={"n": 2}).to_bytes()
    for broken, message in [
        (whole[:-20], "999999999997.json is not a log entry"),
        (whole.replace(b'"n":1', b'"n":2'), "999999999997.json does not fit the digest that it holds"),
        (another, "999999999997.json is not the entry that the one after it was made upon"),
        (replace(entry, seq=3).to_bytes(), "says that it is entry 3"),
        (whole.replace(b'"schema_version":1', b'"schema_version":2'), "use a newer image"),
    ]:
        objects[key] = broken
        with pytest.raises(CheckpointCorrupt, match=message):
            reader.newest_generation(log.read(3))
    del objects[key]
    with pytest.raises(CheckpointCorrupt, match="is missing from the log"):
        reader.newest_generation(log.read(3))
    objects[f"{FOLDER}/log/0000.json"] = b""
    with pytest.raises(CheckpointCorrupt, match="does not belong into a log"):
        reader.head()


def test_a_store_that_does_not_answer_is_not_an_empty_log() -> None:
    store, log = begun({}, 1)
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable):
        log.head()


@pytest.mark.parametrize("broken", [b"", None])
def test_a_damaged_end_keeps_nobody_from_taking_the_shard(broken: bytes | None) -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    log.append(Kind.GEN, {"n": 1})
    key = layout.entry_key(FOLDER, 2)
    objects[key] = b"torn"
    store, after = opened(objects, 2)
    if broken is None:
        # It is listed, and yet not there.
        store.fault = lambda call, asked: lambda: objects.pop(key, None) if call == "get" and asked == key else None
    taken = after.take({})
    assert (taken.entry.seq, taken.entry.prev_sha256) == (3, "")
    with pytest.raises(Superseded, match="attempt 2"):
        log.append(Kind.GEN, {"n": 2})


def test_a_damaged_end_does_not_hide_who_holds_the_shard() -> None:
    objects: dict[str, bytes] = {}
    begun(objects, 5)
    objects[layout.entry_key(FOLDER, 1)] = b"torn"
    _, late = opened(objects, 4)
    with pytest.raises(Superseded, match="attempt 5"):
        late.take({})


def test_the_holder_writes_on_above_its_own_damaged_entry() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    log.append(Kind.GEN, {"n": 1})
    objects[layout.entry_key(FOLDER, 2)] = b"torn"
    assert log.append(Kind.GEN, {"n": 2}).entry.seq == 3


def test_an_entry_of_a_newer_version_is_never_passed_over() -> None:
    objects: dict[str, bytes] = {}
    _, log = begun(objects, 1)
    log.append(Kind.GEN, {"n": 1})
    key = layout.entry_key(FOLDER, 2)
    objects[key] = objects[key].replace(b'"schema_version":1', b'"schema_version":2')
    _, after = opened(objects, 2)
    with pytest.raises(NewerSchema):
        after.take({})


def test_whoever_loses_a_slot_to_a_lower_attempt_looks_anew() -> None:
    """Only above a damaged take can that be: the lower attempt could not see it."""
    objects: dict[str, bytes] = {}
    _, higher = opened(objects, 9)
    higher.take({})
    objects[layout.entry_key(FOLDER, 0)] = b"torn"
    _, lower = opened(objects, 8)
    lower.take({})
    with pytest.raises(Overtaken):
        higher.append(Kind.BASE, {"generation": None, "skipped": []})
