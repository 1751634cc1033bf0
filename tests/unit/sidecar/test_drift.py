from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from resumable_sweep.contract.environment import WHILE_EMPTY
from sweep_operator.api.spec import ResumableSweepSpec
from sweep_sidecar.drift import ALL, PARTS, Drifted, MadeOf, admit, newest_record
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import GarblingStore, MemoryStore
from unit.sidecar.pods import HEADER, Cluster, line

BEFORE = MadeOf(
    shards=4, items_sha256="i" * 64, checkpoint_file="results.jsonl", images=("lr:1",), program_sha256="p" * 64
)


def admitted(store: MemoryStore, made_of: MadeOf, allowed: Collection[str] = (), *, attempt: int = 7) -> None:
    admit(store, made_of, allowed=allowed, attempt=attempt, clock=lambda: 12.5)


@pytest.mark.parametrize(
    ("changes", "part", "message"),
    [
        ({"images": ("lr:2",)}, "Images", "images was lr:1 and is lr:2.*set spec.allowDrift to .Images."),
        ({"program_sha256": "q" * 64}, "Program", f"program_sha256 was {'p' * 64} and is {'q' * 64}"),
        ({"checkpoint_file": "x.bin"}, "CheckpointFile", "checkpoint_file was results.jsonl and is x.bin"),
        ({"items_sha256": ""}, "Items", f"items_sha256 was {'i' * 64} and is ''"),
    ],
)
def test_what_differs_is_refused_and_named_unless_it_is_allowed(
    changes: dict[str, Any], part: str, message: str
) -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    now = replace(BEFORE, **changes)
    others = [other for other in PARTS.values() if other != part]
    with pytest.raises(Drifted, match=message):
        admitted(store, now, others)
    assert len(store.objects) == 1
    admitted(store, now, [part])
    admitted(store, replace(now, images=("lr:3",)), [ALL])
    assert sorted(store.objects) == ["run/000000.json", "run/000001.json", "run/000002.json"]


def test_an_unchanged_relaunch_never_drifts_and_writes_nothing() -> None:
    store = MemoryStore()
    for _ in range(3):
        admitted(store, BEFORE)
    assert [call for call, _ in store.calls].count("create") == 1


def test_shards_never_differ_whatever_is_allowed() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    with pytest.raises(Drifted, match=r"shards was 4 and is 5\. Items would move.*put shards back"):
        admitted(store, replace(BEFORE, shards=5), [ALL, *PARTS.values()])


def test_pods_of_before_and_after_an_allowed_change_start_in_any_order() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    after = replace(BEFORE, images=("lr:2",))
    admitted(store, after, ["Images"])
    admitted(store, BEFORE)
    admitted(store, after)
    with pytest.raises(Drifted, match="images was lr:2 and is lr:3"):
        admitted(store, replace(BEFORE, images=("lr:3",)))


def test_of_two_that_begin_at_once_one_says_what_the_run_is_made_of() -> None:
    objects: dict[str, bytes] = {}
    store = MemoryStore(objects)

    def rival_first(call: str, key: str) -> Callable[[], None] | None:
        if call != "create":
            return None
        store.fault = lambda call, key: None
        return lambda: admitted(MemoryStore(objects), replace(BEFORE, images=("rival:1",)))

    store.fault = rival_first
    with pytest.raises(Drifted, match="images was rival:1 and is lr:1"):
        admitted(store, BEFORE)


def test_a_lost_reply_is_no_drift() -> None:
    store = MemoryStore()
    store.fault = lambda call, key: "unanswered" if call == "create" else None
    with pytest.raises(Unreachable):
        admitted(store, BEFORE)
    store.fault = lambda call, key: None
    admitted(store, BEFORE)
    assert len(store.objects) == 1


def test_a_damaged_record_is_passed_over() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    admitted(store, replace(BEFORE, images=("lr:2",)), [ALL])
    store.objects["run/000001.json"] = b'{"shards": 4'
    admitted(store, BEFORE)
    with pytest.raises(Drifted, match="images was lr:1"):
        admitted(store, replace(BEFORE, images=("lr:2",)))


@pytest.mark.parametrize("garbage", [b'{"shards": 4', b""])
@pytest.mark.parametrize("garbled", [(0,), (1,), (0, 2)])
def test_a_record_that_is_garbled_on_its_way_lets_nothing_in_and_refuses_nothing(
    garbage: bytes, garbled: tuple[int, ...]
) -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    (key, whole) = next(iter(store.objects.items()))
    garbling = GarblingStore(store.objects, key=key, garbage=garbage, garbled=garbled)
    with pytest.raises(Drifted, match="images was lr:1 and is lr:2"):
        admitted(garbling, replace(BEFORE, images=("lr:2",)))
    changed = whole.replace(b"lr:1", b"lr:3")
    admitted(GarblingStore(store.objects, key=key, garbage=changed, garbled=(0,)), BEFORE)
    assert list(store.objects) == [key]


def test_a_drifted_attempt_does_not_shut_out_the_one_that_runs(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    cluster.named = "other.jsonl"
    with pytest.raises(Drifted, match=r"checkpoint_file was results\.jsonl and is other\.jsonl"):
        cluster.restore(2)
    first.look()
    assert first.report.items_done == 1


# A template that was mended before any program of the sweep had run.

MENDED = replace(BEFORE, images=("lr:2",), program_sha256="q" * 64)


def test_nothing_is_held_against_what_never_ran() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    with pytest.raises(Drifted):
        admitted(store, MENDED)
    admitted(store, MENDED, [WHILE_EMPTY], attempt=8)
    admitted(store, MENDED)
    assert newest_record(store) == MENDED
    with pytest.raises(Drifted, match=r"images was lr:2 and is lr:1"):
        admitted(store, BEFORE)


def test_what_a_later_attempt_is_made_of_stands() -> None:
    store = MemoryStore()
    admitted(store, MENDED, attempt=8)
    with pytest.raises(Drifted, match=r"images was lr:2 and is lr:1"):
        admitted(store, BEFORE, [WHILE_EMPTY], attempt=7)


def test_the_first_record_of_a_run_is_like_any_other() -> None:
    store, plain = MemoryStore(), MemoryStore()
    admitted(store, BEFORE, [WHILE_EMPTY])
    admitted(plain, BEFORE)
    assert store.objects == plain.objects


def test_attempts_that_only_took_their_shards_have_stored_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.pod(1)
    cluster.named = "other.jsonl"
    with pytest.raises(Drifted):
        cluster.restore(2)
    made_of = newest_record(cluster.store)
    assert made_of is not None
    admitted(cluster.store, replace(made_of, images=("lr:2",)), [WHILE_EMPTY])


@pytest.mark.parametrize("bytes_recorded", [10, 200_000], ids=["inside of an entry", "in a blob"])
def test_once_anything_is_stored_drift_is_drift(tmp_path: Path, bytes_recorded: int) -> None:
    cluster = Cluster(tmp_path)
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1) * (1 + bytes_recorded // len(line(1))))
    first.look()
    made_of = newest_record(cluster.store)
    assert made_of is not None
    with pytest.raises(Drifted, match=r"images"):
        admitted(cluster.store, replace(made_of, images=("lr:2",)), [WHILE_EMPTY])


def test_an_entry_that_cannot_be_read_may_be_a_result(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.pod(1)
    made_of = newest_record(cluster.store)
    assert made_of is not None
    (key, *_) = [key for key in cluster.store.objects if "/log/" in key]
    cluster.store.objects[key] = b"?"
    with pytest.raises(Drifted, match=r"images"):
        admitted(cluster.store, replace(made_of, images=("lr:2",)), [WHILE_EMPTY])


def test_the_specification_names_the_same_parts() -> None:
    annotated = get_type_hints(ResumableSweepSpec)["allow_drift"]
    (literal,) = get_args(annotated)
    assert set(get_args(literal)) == {ALL, *PARTS.values()}


def test_a_record_of_which_one_letter_has_changed_says_nothing() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    (key,) = store.objects
    store.objects[key] = store.objects[key].replace(b"lr:1", b"lr:2")
    assert newest_record(store) is None
    admitted(store, BEFORE)
    assert newest_record(store) == BEFORE
    assert len(store.objects) == 2


def test_a_record_of_an_earlier_release_counts_without_a_digest() -> None:
    store = MemoryStore()
    admitted(store, BEFORE)
    (key,) = store.objects
    fields = json.loads(store.objects[key])
    del fields["record_sha256"]
    store.objects[key] = json.dumps(fields).encode()
    assert newest_record(store) == BEFORE
