from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._config import ConfigInvalid
from resumable_sweep._identity import (
    IdentityInvalid,
    RunUnknown,
    latest_run,
    run_id_of,
    run_log_path,
    run_named,
    runs_in,
)
from resumable_sweep._statistics import Stats, write_statistics
from resumable_sweep.contract.log_format import line_of

HEADER = {"kind": "header", "schema_version": 2, "run_id": None, "shard": 0, "shards": 1, "created": 5.5}
COMPLETE = {"kind": "complete", "total": 3, "keys_sha256": "x", "skipped": 0}


def done(key: int, result: Any = 0) -> dict[str, Any]:
    return {"kind": "done", "key": key, "result": result, "attempt": None, "host": "h", "started": 1.0, "ended": 2.0}


def write_run(folder: Path, run_id: str, *entries: dict[str, Any], modified: float = 100.0, tail: bytes = b"") -> Path:
    log = run_log_path(folder, run_id)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"".join(line_of(entry) for entry in entries) + tail)
    os.utime(log, (modified, modified))
    return log


# The id.


def test_the_id_is_made_of_the_canonical_json() -> None:
    text = '{"config":{"a":1,"b":[0.5]},"dataset":"cifar10","date":"2026-11-22","model":"resnet"}'
    found = run_id_of({"b": (0.5,), "a": 1}, dataset="cifar10", model="resnet", date=datetime.date(2026, 11, 22))
    assert found == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert found == run_id_of({"a": 1, "b": [0.5]}, dataset="cifar10", model="resnet", date="2026-11-22")


def test_everything_given_counts_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ids = [
        run_id_of({"a": 1}),
        run_id_of({"a": 1.0}),
        run_id_of({"a": "1"}),
        run_id_of({}),
        run_id_of(dataset="x"),
        run_id_of(model="x"),
        run_id_of({"a": 1}, dataset="x"),
        run_id_of({"a": 1}, model="x"),
        run_id_of({"a": 1}, date="2026-11-22"),
    ]
    assert len(set(ids)) == len(ids)
    monkeypatch.setenv("SWEEP_RUN_ID", "other")
    monkeypatch.chdir(tmp_path)
    assert run_id_of({"a": 1}) == ids[0]


def test_a_path_counts_by_content_and_a_string_by_name(tmp_path: Path) -> None:
    one, same, other = tmp_path / "a.bin", tmp_path / "b.bin", tmp_path / "c.bin"
    for file, data in ((one, b"data"), (same, b"data"), (other, b"Data")):
        file.write_bytes(data)
    assert run_id_of(dataset=one) == run_id_of(dataset=same) != run_id_of(dataset=other)
    assert run_id_of(model={"weights": [one]}) == run_id_of(model={"weights": [same]})
    assert run_id_of(model={"weights": [one]}) != run_id_of(model={"weights": [other]})
    before = run_id_of(dataset=str(one))
    one.write_bytes(b"changed")
    assert run_id_of(dataset=str(one)) == before != run_id_of(dataset=one)


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


TREE = {"a.txt": "1", "sub/b.txt": "2", "sub.txt": "3"}


@pytest.mark.parametrize(
    "files",
    [
        {**TREE, "a.txt": "2"},
        {**TREE, "new.txt": ""},
        {"a.txt": "1", "sub/b.txt": "2"},
        {"a.txt": "1", "sub/renamed.txt": "2", "sub.txt": "3"},
        {"a.txt": "1", "b.txt": "2", "sub.txt": "3"},
        {"a.txt": "2", "sub/b.txt": "1", "sub.txt": "3"},
    ],
)
def test_a_folder_counts_by_its_files_and_where_they_lie_in_it(tmp_path: Path, files: dict[str, str]) -> None:
    expected = run_id_of(dataset=write_tree(tmp_path / "one", TREE))
    backwards = dict(reversed(TREE.items()))
    assert run_id_of(dataset=write_tree(tmp_path / "elsewhere" / "two", backwards)) == expected
    assert run_id_of(dataset=write_tree(tmp_path / "other", files)) != expected


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    expected = run_id_of(dataset=write_tree(tmp_path / "one", TREE))
    (tmp_path / "link").mkdir()
    for name in ("a.txt", "sub", "sub.txt"):
        (tmp_path / "link" / name).symlink_to(tmp_path / "one" / name)
    assert run_id_of(dataset=tmp_path / "link") == expected


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "x").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for name, match in (
        ("none", r"dataset='.*none' is neither a file nor a folder.*pass a string"),
        ("pipe", "is neither a file nor a folder"),
        ("dangling", r"dangling/x is neither a file nor a folder"),
        ("loop", r"again is a link to a folder that it lies in"),
    ):
        with pytest.raises(IdentityInvalid, match=match):
            run_id_of(dataset=tmp_path / name)


def test_what_no_id_can_be_made_of_is_refused() -> None:
    with pytest.raises(IdentityInvalid, match="pass config=, dataset= or model="):
        run_id_of()
    with pytest.raises(ConfigInvalid, match=r"^config\.a is a object"):
        run_id_of({"a": object()})
    with pytest.raises(ConfigInvalid, match=r"^model is a set"):
        run_id_of(model={1})


# The runs in a folder.


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "none") == []
    assert latest_run(tmp_path / "none") is None
    with pytest.raises(RunUnknown, match=r"holds no runs: a run lies there as <run id>/results\.jsonl"):
        run_named(tmp_path / "none", "a")


def test_the_run_last_written_to_comes_first(tmp_path: Path) -> None:
    log = write_run(tmp_path, "aa", HEADER, done(1), modified=50)
    write_run(tmp_path, "bb", HEADER, done(1), COMPLETE, modified=70)
    write_run(tmp_path, "cc", modified=60)
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()
    runs = runs_in(tmp_path)
    assert [(run.run_id, run.modified, run.created, run.complete, run.total) for run in runs] == [
        ("bb", 70, 5.5, True, 3),
        ("cc", 60, None, False, None),
        ("aa", 50, 5.5, False, None),
    ]
    assert (runs[2].log_path, runs[2].size_bytes, runs[2].stats) == (log, log.stat().st_size, None)
    assert latest_run(tmp_path) == runs[0]


@given(cut=st.integers(0, 60))
def test_what_is_torn_or_long_is_read_as_every_reader_does(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("runs")
    torn = line_of(done(2))[:cut]
    write_run(folder, "torn", HEADER, COMPLETE, tail=torn)
    assert run_named(folder, "torn").complete


def test_a_complete_that_is_not_the_last_entry_or_is_damaged_does_not_count(tmp_path: Path) -> None:
    write_run(tmp_path, "on", HEADER, COMPLETE, {"kind": "reopened", "attempt": 1, "host": "h", "at": 1.0})
    write_run(tmp_path, "damaged", HEADER, tail=line_of(COMPLETE).replace(b'"total":3', b'"total":4'))
    write_run(tmp_path, "cut", HEADER, tail=line_of(COMPLETE)[:-1])
    write_run(tmp_path, "long", HEADER, done(1, "x" * 200_000))
    write_run(tmp_path, "ends", HEADER, done(1, "x" * 200_000), COMPLETE)
    assert {run.run_id: run.complete for run in runs_in(tmp_path)} == {
        "on": False, "damaged": False, "cut": False, "long": False, "ends": True
    }  # fmt: skip


def test_the_numbers_of_a_run_are_shown_as_long_as_they_speak_of_its_log(tmp_path: Path) -> None:
    stats = Stats(
        total=2, completed=1, failed=0, skipped=0, in_progress=0, missing=1, replayed=0, recorded=1, removed=0,
        resumes=0, fall_backs=0, seconds=1.5, seconds_saved=0.0
    )  # fmt: skip
    log = write_run(tmp_path, "a", HEADER, done(1))
    write_statistics(log, stats)
    assert run_named(tmp_path, "a").stats == stats
    with log.open("ab") as file:
        file.write(line_of(done(2)))
    assert run_named(tmp_path, "a").stats is None


def test_a_run_is_found_by_its_id_or_the_beginning_of_it(tmp_path: Path) -> None:
    for run_id in ("3f0c11", "3f0c22", "3f", "9a0b00"):
        write_run(tmp_path, run_id, HEADER)
    assert run_named(tmp_path, "9a").run_id == "9a0b00"
    assert run_named(tmp_path, "3f").run_id == "3f"
    assert run_named(tmp_path, "3f0c2").run_id == "3f0c22"
    with pytest.raises(RunUnknown, match=r"2 runs in .* start with '3f0': 3f0c\d\d, 3f0c\d\d; write more of the one"):
        run_named(tmp_path, "3f0")
    with pytest.raises(RunUnknown, match=r"holds no run '9a0b01'; near it: 9a0b00"):
        run_named(tmp_path, "9a0b01")
    with pytest.raises(RunUnknown, match=r"holds no run ''; there are: 3f, 3f0c11, 3f0c22, 9a0b00"):
        run_named(tmp_path, "")
    with pytest.raises(RunUnknown):
        run_named(tmp_path, "*")


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", "a\0"])
def test_an_id_that_would_lead_elsewhere_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(IdentityInvalid, match="cannot be the name of a folder"):
        run_log_path(tmp_path, run_id)
