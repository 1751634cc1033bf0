from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._ledger import Ledger
from resumable_sweep._settings import Parameters, Settings, SettingsInvalid, settings_of
from resumable_sweep.contract.items import Item, ItemsInvalid, lines_of


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    return settings_of(Parameters(**given), environ=environ or {})


def items_of(found: Settings) -> list[tuple[str, Any]]:
    """Return the identities of the keys, and the items."""
    ledger = Ledger()
    found.items.pull(ledger)
    return list(zip(ledger.names, ledger.values, strict=True))


@pytest.fixture
def items_file(tmp_path: Path) -> Path:
    file = tmp_path / "items.jsonl"
    file.write_text("".join(lines_of([Item("a", {"x": 1}), Item("b", {"x": 2})])))
    return file


def test_a_pod_says_everything(tmp_path: Path, items_file: Path) -> None:
    found = settings(
        {
            "SWEEP_ITEMS": str(items_file),
            "SWEEP_SNAPSHOT_DIR": str(tmp_path),
            "SWEEP_RESUME_FROM": f"file://{tmp_path}/results.jsonl",
            "SWEEP_RUN_ID": "run-1",
            "SWEEP_ATTEMPT": "17",
            "SWEEP_SHARD": "2",
            "SWEEP_SHARDS": "3",
        }
    )
    # The items are this shard's already: they are not split again.
    assert items_of(found) == [('"a"', {"x": 1}), ('"b"', {"x": 2})]
    assert found.log_path == tmp_path / "results.jsonl"
    assert found.resume_from == f"file://{tmp_path}/results.jsonl"
    assert (found.run_id, found.attempt, found.shard, found.shards) == ("run-1", 17, 2, 3)
    assert found.host == socket.gethostname()


def test_what_the_program_gives_wins(tmp_path: Path, items_file: Path) -> None:
    found = settings(
        {"SWEEP_ITEMS": str(items_file), "SWEEP_SNAPSHOT_DIR": "/elsewhere", "SWEEP_RESUME_FROM": "/elsewhere/log"},
        items=[{"x": 2, "key": "b"}, {"x": 1, "key": "a"}],
        checkpoint_path="sub/mine.jsonl",
        resume_from=tmp_path / "other.jsonl",
        snapshot_dir=tmp_path,
    )
    assert [name for name, _ in items_of(found)] == ['"b"', '"a"']
    assert found.log_path == tmp_path / "sub" / "mine.jsonl"
    assert found.resume_from == tmp_path / "other.jsonl"


def test_given_items_are_split_by_the_shard() -> None:
    found = settings({"SWEEP_SHARD": "1", "SWEEP_SHARDS": "3"}, items=range(8), checkpoint_path="log")
    assert [item for _, item in items_of(found)] == [1, 4, 7]


def test_a_given_shard_wins() -> None:
    found = settings({"SWEEP_SHARD": "1", "SWEEP_SHARDS": "3"}, items=range(8), checkpoint_path="log", shard=(0, 2))
    assert [item for _, item in items_of(found)] == [0, 2, 4, 6]


def test_items_without_a_length_are_taken_as_they_are_asked_for() -> None:
    asked = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            asked.append(number)
            yield number
            number += 1

    found = settings(items=endless(), checkpoint_path="log", shard=(1, 3))
    ledger = Ledger()
    assert asked == []
    assert found.items.pull(ledger, 2) == 2
    assert ledger.values == [1, 4]
    assert asked == [0, 1, 2, 3, 4]
    assert found.items.sha256 is None


def test_without_a_pod_there_is_one_shard_and_the_path_is_relative_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings(items=["a"], checkpoint_path="out/log.jsonl")
    assert (found.shard, found.shards, found.run_id, found.attempt, found.resume_from) == (0, 1, None, None, None)
    assert found.log_path == tmp_path / "out" / "log.jsonl"


def test_a_variable_set_to_nothing_is_as_good_as_none() -> None:
    names = ("ITEMS", "SNAPSHOT_DIR", "RESUME_FROM", "RUN_ID", "ATTEMPT", "SHARD", "SHARDS")
    given = {"items": ["a"], "checkpoint_path": "log"}
    assert settings({f"SWEEP_{name}": "" for name in names}, **given).log_path == settings(**given).log_path
    with pytest.raises(SettingsInvalid, match="there are no items"):
        settings({"SWEEP_ITEMS": ""})


def test_a_key_is_what_json_makes_of_it() -> None:
    found = settings(items=[(1, "a"), (2, "b")], key=lambda item: (item[1], {3: item[0]}), checkpoint_path="log")
    assert items_of(found) == [('["a",{"3":1}]', (1, "a")), ('["b",{"3":2}]', (2, "b"))]


def test_keys_of_different_types_stay_apart() -> None:
    items = [1, "1", True, None, 1.0, (1,)]
    found = settings(items=items, key=lambda item: item, checkpoint_path="log")
    assert [name for name, _ in items_of(found)] == ["1", '"1"', "true", "null", "1.0", "[1]"]


def test_the_key_of_a_file_is_found_by_the_items_value(items_file: Path) -> None:
    found = settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log")
    assert found.items.name({"x": 2}, "the item") == '"b"'


@pytest.mark.parametrize(
    ("environ", "given", "match"),
    [
        ({}, {}, "there are no items: pass items= or set SWEEP_ITEMS"),
        ({}, {"items": [1], "checkpoint_path": None}, "nowhere to write results: pass checkpoint_path="),
        ({"SWEEP_SHARD": "1"}, {}, "SWEEP_SHARD and SWEEP_SHARDS go together"),
        ({"SWEEP_SHARD": "3", "SWEEP_SHARDS": "3"}, {}, "SWEEP_SHARD=3 must be below SWEEP_SHARDS=3"),
        ({"SWEEP_SHARD": "0", "SWEEP_SHARDS": "0"}, {}, "SWEEP_SHARD=0 must be below SWEEP_SHARDS=0"),
        ({"SWEEP_SHARD": "-1", "SWEEP_SHARDS": "3"}, {}, "SWEEP_SHARD must be a whole number of 0 or more, not '-1'"),
        ({"SWEEP_SHARD": "x", "SWEEP_SHARDS": "3"}, {}, "SWEEP_SHARD must be a whole number"),
        ({"SWEEP_ATTEMPT": "one"}, {"items": [1], "checkpoint_path": "l"}, "SWEEP_ATTEMPT must be a whole number"),
        ({"SWEEP_ITEMS": "/nowhere/items.jsonl"}, {}, "SWEEP_ITEMS names /nowhere/items.jsonl, which cannot be read"),
        ({}, {"items": [1], "checkpoint_path": "/tmp/x", "snapshot_dir": "/snap"}, "outside of the snapshot directory"),
        ({}, {"items": [1], "checkpoint_path": "../x", "snapshot_dir": "/snap"}, "outside of the snapshot directory"),
        ({}, {"items": [1], "checkpoint_path": "l", "shard": (3, 3)}, r"shard=\(3, 3\) is none: shards count from 0"),
        ({}, {"items": [1], "checkpoint_path": "l", "shard": 1}, "shard=1 must be two whole numbers"),
        ({}, {"items": [1], "checkpoint_path": "l", "max_attempts": 0}, "max_attempts=0 must be a whole number of 1"),
        (
            {},
            {"items": [1], "checkpoint_path": "l", "on_error": "stop"},
            "on_error='stop' must be one of finish, raise",
        ),
        ({}, {"items": [1], "checkpoint_path": "l", "checkpoint_every": 0}, "checkpoint_every=0 must be a number"),
        ({}, {"items": [1], "checkpoint_path": "l", "checkpoint_seconds": 0}, "checkpoint_seconds=0 must be seconds"),
        ({}, {"items": [1], "checkpoint_path": "l", "durable_timeout": -1}, "durable_timeout=-1 must be seconds"),
        ({}, {"items": [1], "checkpoint_path": "l", "lock_timeout": "long"}, "lock_timeout='long' must be seconds"),
        ({}, {"items": [1], "checkpoint_path": "l", "grace": float("nan")}, "grace=nan must be seconds"),
    ],
)
def test_what_cannot_be_used_is_named(environ: dict[str, str], given: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingsInvalid, match=match):
        settings(environ, **given)


@pytest.mark.parametrize(
    ("items", "key", "match"),
    [
        ([1, 2, 1], None, r'items 0 and 2 have the same key "1"'),
        (["a", "b", "c"], lambda item: "same", r'items 0 and 1 have the same key "same"'),
        ([1, object()], None, "item 1 has no key that JSON can hold"),
        ([1], lambda item: {1, 2}, "item 0 has no key that JSON can hold"),
        ([1], lambda item: "\ud800", "item 0 has no key that JSON can hold"),
    ],
)
def test_items_that_cannot_be_told_apart_are_refused(items: list[Any], key: Any, match: str) -> None:
    with pytest.raises(ItemsInvalid, match=match):
        settings(items=items, key=key, checkpoint_path="log")


def test_a_share_is_not_shared_again(items_file: Path) -> None:
    with pytest.raises(SettingsInvalid, match="those of one shard already"):
        settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log", shard=(0, 2))


def test_items_without_a_length_cannot_be_held_against_those_of_the_sweep(items_file: Path) -> None:
    with pytest.raises(ItemsInvalid, match="has no length"):
        settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log", items=(item for item in ({"key": "a"},)))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"items": [{"x": 1, "key": "a"}]}, r'1 keys here, 2 in SWEEP_ITEMS; "b" is not in the program'),
        ({"items": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}, r'"c" is not in SWEEP_ITEMS'),
        ({"key": lambda item: item["x"]}, "not those of the sweep"),
    ],
)
def test_items_that_could_never_be_merged_are_refused(items_file: Path, given: dict[str, Any], match: str) -> None:
    with pytest.raises(ItemsInvalid, match=match):
        settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log", **given)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ('{"key": 1, "item": 1}\n{"key": 1, "item": 2}\n', "items 0 and 1 have the same key 1"),
        ('{"key": 1, "item": 1}\n{"key": 2, "item": 1}\n', "items 0 and 1 have the same value 1"),
        ('{"key": 1}\n', r"items\.jsonl: line 1 is not"),
    ],
)
def test_a_file_of_items_that_cannot_be_used_is_refused(items_file: Path, lines: str, match: str) -> None:
    items_file.write_text(lines)
    with pytest.raises(ItemsInvalid, match=match):
        settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log")
