from __future__ import annotations

import json
from pathlib import Path

import pytest

from resumable_sweep.contract.items import ItemsInvalid
from sweep_sidecar import layout
from sweep_sidecar.capture.capturer import Capturer
from sweep_sidecar.content import store_blob
from sweep_sidecar.housekeeping import DuplicateKeys, Incomplete, merge, resolve, specified_items
from sweep_sidecar.items import ItemsChanged, stored_items
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, Writer
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.shard_log import ShardLog
from sweep_sidecar.settings import RunSettings
from unit.sidecar.memory_store import GarblingStore, MemoryStore

HEADER = '{"kind":"header","schema_version":1,"run_id":"run"}\n'


def done(key: object, result: object, **provenance: object) -> str:
    return json.dumps({"kind": "done", "key": key, "result": result, **provenance}) + "\n"


def skipped(key: object, why: str, **provenance: object) -> str:
    return json.dumps({"kind": "skipped", "key": key, "why": why, **provenance}) + "\n"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def run_of(shards: int, items_sha256: str = "") -> RunSettings:
    return RunSettings(store_url="memory://run", run_id="run", shards=shards, items_sha256=items_sha256)


def finish(store: MemoryStore, folder: Path, shard: int, files: dict[str, str], *, kind: Kind = Kind.COMPLETE) -> None:
    """Let a shard end with `files` in its newest generation."""
    folder.mkdir()
    for path, text in files.items():
        (folder / path).write_text(text)
    writer = Writer(1, f"pod-{shard}", "n")
    log = ShardLog(store, layout.shard_folder("run", shard), writer=writer, clock=lambda: 1.0)
    log.take({})
    log.append(Kind.BASE, {"generation": None, "skipped": []})
    look = Capturer(folder, lambda data: store_blob(store, data, nonce=lambda: "x")).look()
    generation = Generation(files=look.files, items_done=len(look.counted.keys), progress=look.progress)
    seq = log.append(Kind.GEN, generation.to_body()).entry.seq if look.files else None
    log.append(kind, {"generation": seq})


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"list": [{"key": "a", "x": 1}, {"key": "b"}]}', ["a", "b"]),
        ('{"matrix": {"lr": [0.1, 1], "seed": [0]}}', ['{"lr":0.1,"seed":0}', '{"lr":1,"seed":0}']),
        ('[1, "1", true, null, [2]]', ["1", '"1"', "true", "null", "[2]"]),
        ('{"key": "a"}\n\n{"key": "b"}\n', ["a", "b"]),
        ('{"key": "only"}\n', ["only"]),
        ("[]", []),
        ("", []),
    ],
)
def test_items_in_every_form(text: str, keys: list[str]) -> None:
    assert [item.key for item in specified_items(text)] == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\nnonsense\n', "line 2 of the items is not JSON: 'nonsense'"),
        ('{"matrix": {"lr": 0.1}}', "matrix.lr is 0.1: write a list of values"),
        ('["a", "a"]', "items 0 and 1 have the same key"),
        ('{\n"list": 1\n}', "the items are "),
    ],
)
def test_items_that_cannot_be_used_say_why(text: str, message: str) -> None:
    with pytest.raises(ItemsInvalid, match=message):
        specified_items(text)


def test_items_are_written_once(store: MemoryStore) -> None:
    first = resolve(store, "[1, 2]")
    assert first.items == 2
    assert store.objects["items.jsonl"] == b'{"item":1,"key":"1"}\n{"item":2,"key":"2"}\n'
    assert resolve(store, '{"list": [1, 2]}') == first
    with pytest.raises(ItemsChanged, match="holds other items"):
        resolve(store, "[2, 1]")


def test_results_come_in_the_order_of_the_items(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, '[{"key": "b"}, {"key": "a"}, {"key": 1}]')
    provenance = {"attempt": 3, "host": "spot-1", "started": 1.0, "ended": 2.5}
    log = HEADER + done(1, "old") + done("b", {"y": 2, "x": [1.5, None]}, **provenance) + done(1, "new")
    finish(store, tmp_path / "0", 0, {"results.jsonl": log})
    finish(store, tmp_path / "1", 1, {"results.jsonl": HEADER + done("a", float("nan"))})
    merged = merge(store, run_of(2, items.sha256))
    results = store.objects[f"merged/{merged.sha256}.jsonl"].decode()
    assert results == (
        '{"key":"b","result":{"x":[1.5,null],"y":2}}\n{"key":"a","result":NaN}\n{"key":1,"result":"new"}\n'
    )
    origins = store.objects[f"merged/{merged.sha256}.provenance.jsonl"].decode().splitlines()
    assert json.loads(origins[0]) == {"key": "b", "shard": 0, **provenance}
    assert (merged.items, merged.left_out) == (3, 0)
    assert merged.url == f"memory://run/merged/{merged.sha256}.jsonl"
    assert merge(store, run_of(2, items.sha256)) == merged


def test_unknown_items_are_sorted_by_their_keys(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("b", 1) + done(10, 2) + done("a", 3)})
    merged = merge(store, run_of(1))
    results = store.objects[f"merged/{merged.sha256}.jsonl"].decode().splitlines()
    assert [json.loads(line)["key"] for line in results] == ["a", "b", 10]


def test_mime_engines_progress_is_merged(store: MemoryStore, tmp_path: Path) -> None:
    progress = json.dumps({"completed": [{"key": "a", "result": 1}, {"key": "b", "result": 2}]})
    import hashlib

    manifest = {"schema_version": 1, "sha256": hashlib.sha256(progress.encode()).hexdigest()}
    manifest_text = json.dumps({**manifest, "size_bytes": len(progress), "extra": {"n_records": 2}})
    files = {"exp.h5.progress.json": progress, "exp.h5.progress.json.manifest.json": manifest_text}
    finish(store, tmp_path / "0", 0, files)
    assert merge(store, run_of(1)).items == 2


def test_a_run_without_counted_results_merges_to_nothing(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"model.bin": "x"})
    finish(store, tmp_path / "1", 1, {})
    assert merge(store, run_of(2)).items == 0


def test_records_of_other_items_are_left_out_and_counted(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, "[1]")
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0) + done("2", 0)})
    merged = merge(store, run_of(1, items.sha256))
    assert (merged.items, merged.left_out) == (1, 1)


def test_only_a_complete_run_is_merged(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done(1, 0)})
    finish(store, tmp_path / "1", 1, {"results.jsonl": HEADER + done(2, 0)}, kind=Kind.SEAL)
    with pytest.raises(Incomplete, match="shard 1 ends in seal, shard 2 ends in nothing"):
        merge(store, run_of(3))
    assert not [key for key in store.objects if key.startswith("merged/")]


def test_an_item_without_a_result_is_missed(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, "[1, 2]")
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0)})
    with pytest.raises(Incomplete, match=r'neither a result nor a skip of 1 of 2 items \("2"\)'):
        merge(store, run_of(1, items.sha256))


def test_skipped_items_are_listed_apart(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, '[{"key": "c"}, {"key": "b"}, {"key": "a"}]')
    provenance = {"attempt": 2, "host": "spot-1", "at": 9.5}
    log = HEADER + skipped("b", "too large", **provenance) + done("c", 1) + skipped("c", "never displaces")
    finish(store, tmp_path / "0", 0, {"results.jsonl": log})
    finish(store, tmp_path / "1", 1, {"results.jsonl": HEADER + done("stray", 0) + skipped("a", "no data")})
    merged = merge(store, run_of(2, items.sha256))
    assert store.objects[f"merged/{merged.sha256}.jsonl"] == b'{"key":"c","result":1}\n'
    assert len(store.objects[f"merged/{merged.sha256}.provenance.jsonl"].splitlines()) == 1
    listed = store.objects[f"merged/{merged.sha256}.skipped.jsonl"].decode().splitlines()
    assert json.loads(listed[0]) == {"key": "b", "why": "too large", "shard": 0, **provenance}
    assert json.loads(listed[1]) == {
        "key": "a",
        "why": "no data",
        "shard": 1,
        "attempt": None,
        "host": None,
        "at": None,
    }
    assert (merged.items, merged.skipped, merged.left_out) == (1, 2, 1)
    assert merged.skipped_url == f"memory://run/merged/{merged.sha256}.skipped.jsonl"
    assert merge(store, run_of(2, items.sha256)) == merged


def test_nothing_is_listed_where_nothing_was_skipped(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + skipped("a", "not yet") + done("a", 1)})
    merged = merge(store, run_of(1))
    assert (merged.items, merged.skipped, merged.skipped_url) == (1, 0, "")
    assert not [key for key in store.objects if "skipped" in key]


def test_unknown_items_that_were_skipped_are_sorted_as_well(store: MemoryStore, tmp_path: Path) -> None:
    log = HEADER + skipped("b", "") + skipped(10, "") + done("c", 1) + skipped("a", "")
    finish(store, tmp_path / "0", 0, {"results.jsonl": log})
    merged = merge(store, run_of(1))
    listed = store.objects[f"merged/{merged.sha256}.skipped.jsonl"].decode().splitlines()
    assert [json.loads(line)["key"] for line in listed] == ["a", "b", 10]


def test_a_failed_item_is_missed(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, "[1, 2]")
    failed = json.dumps({"kind": "failed", "key": "2", "error": "e", "traceback": ""}) + "\n"
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0) + skipped("2", "") + failed})
    with pytest.raises(Incomplete, match=r'nor a skip of 1 of 2 items \("2"\)'):
        merge(store, run_of(1, items.sha256))


def test_an_item_skipped_in_one_shard_and_done_in_another_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("a", 0)})
    finish(store, tmp_path / "1", 1, {"results.jsonl": HEADER + skipped("a", "")})
    with pytest.raises(DuplicateKeys, match='item "a" was recorded by shard 0 and by shard 1'):
        merge(store, run_of(2))


def test_an_item_in_two_shards_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    for shard in (0, 1):
        finish(store, tmp_path / str(shard), shard, {"results.jsonl": HEADER + done("a", 0)})
    with pytest.raises(DuplicateKeys, match='item "a" was recorded by shard 0 and by shard 1'):
        merge(store, run_of(2))


def test_items_that_changed_under_a_run_are_refused(store: MemoryStore, tmp_path: Path) -> None:
    resolve(store, "[1]")
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0)})
    with pytest.raises(ItemsChanged, match="the sweep was started with 0000"):
        merge(store, run_of(1, "0000"))


def test_items_that_are_garbled_on_their_way_are_read_again(store: MemoryStore, tmp_path: Path) -> None:
    sha256 = resolve(store, "[1]").sha256
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0)})
    garbling = GarblingStore(store.objects, key="items.jsonl", garbage=b'{"key":2}', garbled=(0, 2))
    assert [item.key for item in stored_items(garbling, sha256=sha256)] == ["1"]
    assert merge(garbling, run_of(1, sha256)).items == 1


def test_a_merge_never_replaces_another(store: MemoryStore, tmp_path: Path) -> None:
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0)})
    merged = merge(store, run_of(1))
    store.objects[f"merged/{merged.sha256}.jsonl"] = b"something else"
    with pytest.raises(CheckpointCorrupt, match="holds something else than this merge"):
        merge(store, run_of(1))


def test_what_there_is_is_merged_where_that_is_asked_for(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, "[1, 2, 3, 4, 5]")
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", "a") + done("4", "b")})
    finish(store, tmp_path / "1", 1, {"results.jsonl": HEADER + done("2", "c")}, kind=Kind.SEAL)
    merged = merge(store, run_of(3, items.sha256), partial=True)
    lines = store.objects[f"merged/{merged.sha256}.jsonl"].decode().splitlines()
    assert [json.loads(line)["result"] for line in lines] == ["a", "c", "b"]
    assert (merged.items, merged.missing) == (3, 2)


def test_nothing_is_missing_of_a_run_that_is_complete(store: MemoryStore, tmp_path: Path) -> None:
    items = resolve(store, "[1, 2]")
    finish(store, tmp_path / "0", 0, {"results.jsonl": HEADER + done("1", 0) + done("2", 0)})
    whole = merge(store, run_of(1, items.sha256))
    assert whole.missing == 0
    assert merge(store, run_of(1, items.sha256), partial=True) == whole
