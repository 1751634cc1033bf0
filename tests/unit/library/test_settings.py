from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._settings import Settings, SettingsInvalid, local_path, settings_of
from resumable_sweep.contract.items import Item, ItemsInvalid, lines_of


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    parameters: dict[str, Any] = {
        "items": None, "key": None, "checkpoint_path": None, "resume_from": None, "snapshot_dir": None
    }  # fmt: skip
    return settings_of(**{**parameters, **given}, environ=environ or {})


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
    assert found.items == (Item("a", {"x": 1}), Item("b", {"x": 2}))
    assert found.log_path == found.resume_from == tmp_path / "results.jsonl"
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
    assert [item.key for item in found.items] == ["b", "a"]
    assert found.log_path == tmp_path / "sub" / "mine.jsonl"
    assert found.resume_from == tmp_path / "other.jsonl"


def test_given_items_are_split_by_the_shard() -> None:
    found = settings({"SWEEP_SHARD": "1", "SWEEP_SHARDS": "3"}, items=range(8), checkpoint_path="log")
    assert [item.value for item in found.items] == [1, 4, 7]


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
    assert [item.key for item in found.items] == [["a", {"3": 1}], ["b", {"3": 2}]]
    assert found.items[0].value == (1, "a")


def test_the_key_of_a_file_is_found_by_the_items_value(items_file: Path) -> None:
    found = settings({"SWEEP_ITEMS": str(items_file)}, checkpoint_path="log")
    assert found.key({"x": 2}) == "b"


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
        ({}, {"items": [1], "checkpoint_path": "l", "resume_from": "gs://b/x"}, "must be a path or a file:// URL"),
        ({}, {"items": [1], "checkpoint_path": "l", "resume_from": "file://x"}, "names no absolute path"),
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


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/a/b.jsonl", "/a/b.jsonl"),
        ("file:///a/b.jsonl", "/a/b.jsonl"),
        ("file://localhost/a/b.jsonl", "/a/b.jsonl"),
        ("file:///a/50%25 of#it?.jsonl", "/a/50%25 of#it?.jsonl"),
    ],
)
def test_the_path_of_a_source(source: str, path: str) -> None:
    assert local_path(source) == Path(path)


def test_a_percent_encoded_url_is_read_where_only_that_names_a_file(tmp_path: Path) -> None:
    file = tmp_path / "with space.jsonl"
    file.touch()
    assert local_path(file.as_uri()) == file
    literal = tmp_path / "with%20space.jsonl"
    literal.touch()
    assert local_path(file.as_uri()) == literal
