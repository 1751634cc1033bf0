from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._foreign import foreign_entries
from resumable_sweep.contract.canonical import canonical_json, key_of
from unit.library.commanded import Command, files_in


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def result_of(item: int) -> Any:
    return {"loss": item / 2, "history": [item, math.nan], "of": {"seed": item, "odd": item % 2 == 1}, "name": "é,\n"}


def swept(log: Path, items: list[Any], results: dict[Any, Any] | None = None, **parameters: Any) -> None:
    with ResumableSweep(items, checkpoint_path=log, script=False, on_error="ignore", **parameters) as sweep:
        for item in sweep.pending:
            result = result_of(item) if results is None else results[item]
            if isinstance(result, Exception):
                sweep.fail(item, result)
            elif result is Ellipsis:
                sweep.skip(item, "not wanted")
            else:
                sweep.record(item, result)


def wanted(items: list[Any]) -> str:
    return "".join(canonical_json({"key": key_of(item), "result": result_of(item)}) + "\n" for item in items)


def test_results_come_in_canonical_json_in_order(tmp_path: Path, command: Command) -> None:
    swept(tmp_path / "a.jsonl", list(range(4)))
    said = command("export", tmp_path / "a.jsonl")
    assert said.out == wanted([0, 1, 2, 3])
    assert command("export", tmp_path / "a.jsonl", "-o", tmp_path / "out.jsonl").out == ""
    assert (tmp_path / "out.jsonl").read_text() == said.out
    assert not [path for path in tmp_path.iterdir() if ".tmp." in path.name]


def test_shards_are_one_in_the_order_of_the_items(tmp_path: Path, command: Command) -> None:
    items = list(range(7))
    logs = [tmp_path / f"shard-{shard}.jsonl" for shard in range(3)]
    for shard, log in enumerate(logs):
        swept(log, items, shard=(shard, 3))
    (tmp_path / "items.json").write_text(json.dumps(items))
    whole = command("export", *logs, "--items", tmp_path / "items.json")
    assert whole.out == wanted(items)
    assert sorted(command("export", *reversed(logs)).out.splitlines()) == sorted(whole.out.splitlines())
    missing = command("export", *logs[:2])
    assert missing.code == 86
    assert "of the 3 shards, 2 is not among the logs" in missing.err
    assert command("export", *logs[:2], "--partial").out.count("\n") == 5


def test_what_is_not_complete_is_refused(tmp_path: Path, command: Command) -> None:
    log, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    swept(log, [0, 1, 2], {0: 1, 1: ValueError("bad"), 2: 3})
    out.write_text("before")
    said = command("export", log, "-o", out)
    assert said.code == 86
    assert "2 items of 3 are done or skipped" in said.err
    assert out.read_text() == "before"
    assert [line["result"] for line in command("export", log, "--partial").lines] == [1, 3]


def test_damage_is_not_exported_as_if_it_were_whole(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    swept(log, [0, 1, 2])
    log.write_bytes(log.read_bytes().replace(b'"loss":0.5', b'"loss":0.6'))
    said = command("export", log)
    assert said.code == 82
    assert "1 damaged line:" in said.err
    assert command("export", log, "--partial").out == wanted([0, 2])


def test_an_item_of_the_list_that_is_not_done_is_named(tmp_path: Path, command: Command) -> None:
    swept(tmp_path / "a.jsonl", [0, 1])
    items = tmp_path / "items.jsonl"
    items.write_text('1\n7\n{"key": 1}\n')
    said = command("export", tmp_path / "a.jsonl", "--items", items)
    assert said.code == 86
    assert '2 of the 3 items in --items are not done: "7", 1;' in said.err
    assert command("export", tmp_path / "a.jsonl", "--items", items, "--partial").out == wanted([1])


def test_keys_that_are_items_no_longer_are_not_exported_unasked(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    swept(log, [0, 1, 2])
    with pytest.warns(match="no longer among them"):
        swept(log, [0, 2, 3], allow_drift="items")
    said = command("export", log)
    assert said.code == 86
    assert "1 results of keys that are items no longer" in said.err
    (tmp_path / "items.json").write_text("[0, 2, 3]")
    assert command("export", log, "--items", tmp_path / "items.json").out == wanted([0, 2, 3])


def test_two_logs_that_disagree_are_named(tmp_path: Path, command: Command) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    swept(first, [0, 1], {0: {"a": 1, "b": 2}, 1: "first"})
    swept(second, [0, 1], {0: {"b": 2, "a": 1}, 1: "second"})
    said = command("export", first, second)
    assert said.code == 87
    assert f"{first} and {second} have different results" in said.err
    assert '"1"' in said.err
    assert [line["result"] for line in command("export", first, second, "--last-wins").lines] == [
        {"a": 1, "b": 2},
        "second",
    ]


def test_a_result_stands_before_a_failure_in_another_log(tmp_path: Path, command: Command) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    swept(first, [0], {0: 5})
    swept(second, [0], {0: ValueError("bad")})
    for logs in ((first, second), (second, first)):
        assert [line["result"] for line in command("export", *logs, "--partial").lines] == [5]


def test_failed_and_skipped_items_are_exports_of_their_own(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    swept(log, [0, 1, 2], {0: 1, 1: ValueError("bad"), 2: ...})
    (failed,) = command("export", log, "--failed", "--provenance").lines
    assert (failed["key"], failed["error"], failed["failures"]) == ("1", "ValueError: bad", 1)
    assert isinstance(failed["ended"], float)
    assert command("export", log, "--skipped").lines == [{"key": "2", "why": "not wanted"}]


def test_provenance_is_that_of_the_log(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_ATTEMPT", "3")
    log = tmp_path / "a.jsonl"
    swept(log, [0])
    entry = next(json.loads(line) for line in log.read_text().splitlines() if '"kind":"done"' in line)
    (line,) = command("export", log, "--provenance").lines
    assert {name: line[name] for name in ("attempt", "host", "started", "ended")} == {
        "attempt": 3,
        "host": entry["host"],
        "started": entry["started"],
        "ended": entry["ended"],
    }


def test_csv_has_a_column_for_each_field(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    results = {0: result_of(0), 1: {"loss": None, "a.b": 1, "of": {}}, 2: "text", 3: 5}
    swept(log, [0, 1, 2, 3], results)
    rows = list(csv.DictReader(io.StringIO(command("export", log, "--format", "csv").out)))
    assert list(rows[0]) == [
        "key",
        "result.loss",
        "result.history",
        "result.of.seed",
        "result.of.odd",
        "result.name",
        'result["a.b"]',
        "result.of",
        "result",
    ]
    assert [row["key"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["result.loss"] == "0.0"
    assert rows[0]["result.history"] == "[0,NaN]"
    assert rows[0]["result.of.odd"] == "false"
    assert rows[0]["result.name"] == "é,\n"
    assert (rows[1]["result.loss"], rows[1]['result["a.b"]'], rows[1]["result.of"]) == ("", "1", "{}")
    assert (rows[2]["result"], rows[3]["result"]) == ("text", "5")


def test_a_reference_to_a_side_file_stays_unless_inline(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    large = np.arange(20_000, dtype=np.float64)
    small = np.array([1 + 2j, 3])
    results = {0: {"large": large, "small": small, "raw": b"\0\xff"}}
    swept(log, [0], results)
    (line,) = command("export", log).lines
    assert set(line["result"]["large"]) == {"$sweep.file"}
    (line,) = command("export", log, "--inline").lines
    assert line["result"] == {"large": large.tolist(), "small": [[1.0, 2.0], [3.0, 0.0]], "raw": "AP8="}
    (file,) = log.with_name("a.jsonl.files").iterdir()
    file.unlink()
    said = command("export", log, "--inline")
    assert said.code == 82
    assert str(file) in said.err


def test_the_progress_file_is_one_of_mime_engine(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    swept(log, [0, 1], {0: np.arange(3), 1: {"x": 1}})
    assert command("export", log, "--format", "mime", "-o", tmp_path / "out").code == 0
    entries = foreign_entries(tmp_path / "out.progress.json")
    assert entries is not None
    assert [(entry["key"], entry["result"]) for entry in entries] == [("0", [0, 1, 2]), ("1", {"x": 1})]
    assert command("verify", tmp_path / "out.progress.json").code == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--format", "mime"], "-o FILE"),
        (["--format", "parquet"], "-o FILE"),
        (["--format", "mime", "-o", "x", "--failed"], "leave out"),
        (["--items", "items.txt"], ".jsonl, .json, .csv"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], text: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.txt").touch()
    swept(tmp_path / "a.jsonl", [0])
    before = files_in(tmp_path)
    said = command("export", "a.jsonl", *words)
    assert said.code == 2
    assert text in said.err
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_error_that_names_a_file_in_another_encoding_is_exported(
    format: str, tmp_path: Path, command: Command
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow.parquet")
    with ResumableSweep([0], checkpoint_path=tmp_path / "a.jsonl", script=False, on_error="ignore") as sweep:
        sweep.fail(0, os.fsdecode(b"there is no caf\xe9.txt"))
    out = tmp_path / f"failed.{format}"
    assert command("export", tmp_path / "a.jsonl", "--failed", "--format", format, "-o", out).code == 0
    assert b"there is no caf\\udce9.txt" in out.read_bytes()


def test_parquet_without_pyarrow_is_told_what_to_do(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resumable_sweep._command.exporting.find_spec", lambda _: None)
    swept(tmp_path / "a.jsonl", [0])
    said = command("export", tmp_path / "a.jsonl", "--format", "parquet", "-o", tmp_path / "a.parquet")
    assert said.code == 2
    assert "install it, or take --format csv" in said.err


def test_without_a_list_the_order_is_that_in_which_items_ended(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "a.jsonl"
    with ResumableSweep(range(3), checkpoint_path=log, script=False) as sweep:
        for item in (2, 0, 1):
            sweep.record(item, result_of(item))
    assert command("export", log).out == wanted([2, 0, 1])
    (tmp_path / "items.json").write_text("[0, 1, 2]")
    assert command("export", log, "--items", tmp_path / "items.json").out == wanted([0, 1, 2])
