from __future__ import annotations

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import (
    Drifted,
    DriftWarning,
    ItemsInvalid,
    LogInvalid,
    LogLocked,
    ResultInvalid,
    ResumableSweep,
)
from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.items import Item, lines_of
from resumable_sweep.contract.log_format import entries_of
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest, sha256_of_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def entries(path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(path.read_bytes()) if entry["kind"] == kind]


def run(path: Path, items: Any, stop_after: int = 1000, **parameters: Any) -> tuple[list[Any], list[Any]]:
    """Run (a part of) a sweep whose result is ten times the item; return what was replayed and what ran."""
    ran: list[Any] = []
    with ResumableSweep(items, checkpoint_path=path, **parameters) as sweep:
        completed = sweep.completed
        for item in sweep.pending:
            if len(ran) == stop_after:
                break
            ran.append(item)
            sweep.record(item, item * 10)
    return completed, ran


def test_a_sweep_goes_on_where_it_was_left(path: Path) -> None:
    assert run(path, range(5), stop_after=2) == ([], [0, 1])
    assert entries(path, "complete") == []
    assert run(path, range(5)) == ([0, 10], [2, 3, 4])
    assert run(path, range(5)) == ([0, 10, 20, 30, 40], [])


def test_what_is_replayed_comes_in_the_order_of_the_items(path: Path) -> None:
    run(path, [3, 1, 2])
    assert run(path, [1, 2, 3]) == ([10, 20, 30], [])


def test_new_items_are_pending_and_old_ones_are_kept_but_not_replayed(path: Path) -> None:
    run(path, [1, 2])
    with pytest.raises(Drifted, match=r'1 of 2 recorded keys are no longer among them.*\n +"1"'):
        run(path, [2, 3])
    with pytest.warns(DriftWarning, match="left out of the results"):
        assert run(path, [2, 3], allow_drift="items") == ([20], [3])
    assert run(path, [2, 3]) == ([20, 30], [])
    assert [entry["key"] for entry in entries(path, "done")] == ["1", "2", "3"]


def test_the_complete_record_is_written_once_and_says_what_is_done(path: Path) -> None:
    for _ in range(3):
        run(path, [1, 2])
    assert entries(path, "complete") == [
        {"kind": "complete", "total": 2, "keys_sha256": sha256_of_keys(["1", "2"]), "skipped": 0}
    ]
    run(path, [1, 2, 3])
    assert [entry["total"] for entry in entries(path, "complete")] == [2, 3]


def test_a_log_with_more_to_do_no_longer_ends_in_complete(path: Path) -> None:
    run(path, [1, 2])
    for _ in range(2):
        assert run(path, [1, 2, 3], stop_after=0) == ([10, 20], [])
    kinds = [entry["kind"] for entry in entries_of(path.read_bytes()) if entry["kind"] not in ("header", "started")]
    assert kinds == ["done", "done", "complete", "reopened", "resumed"]


def test_a_sweep_without_items_is_complete(path: Path) -> None:
    assert run(path, []) == ([], [])
    assert entries(path, "complete") == [
        {"kind": "complete", "total": 0, "keys_sha256": sha256_of_keys([]), "skipped": 0}
    ]


@pytest.mark.parametrize(
    ("error", "complete"), [(ValueError(), False), (SystemExit(1), False), (SystemExit(0), True), (SystemExit(), True)]
)
def test_a_program_that_fails_after_its_last_item_is_not_complete(
    path: Path, error: BaseException, complete: bool
) -> None:
    def program() -> None:
        with ResumableSweep([1], checkpoint_path=path) as sweep:
            sweep.record(1, 1)
            raise error

    with pytest.raises(type(error)):
        program()
    assert bool(entries(path, "complete")) is complete
    manifest = parsed_manifest(manifest_path(path).read_text())
    assert (manifest.sha256, manifest.size_bytes) == sha256_of_file(path)


def test_a_checkpoint_brings_the_manifest_up_to_date(path: Path) -> None:
    with ResumableSweep([1, 2], checkpoint_path=path) as sweep:
        sweep.record(1, 1)
        assert parsed_manifest(manifest_path(path).read_text()).size_bytes < path.stat().st_size
        sweep.checkpoint()
        assert parsed_manifest(manifest_path(path).read_text()).size_bytes == path.stat().st_size


def test_an_entry_says_where_its_result_came_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_ATTEMPT", "7")
    monkeypatch.setenv("SWEEP_RUN_ID", "run-1")
    with ResumableSweep(["a", "b"], checkpoint_path=path) as sweep:
        for item in sweep.pending:
            sweep.record(item, None)
            break
        sweep.record("b", None)
    handed_out, unasked = entries(path, "done")
    assert set(handed_out) == {"kind", "key", "result", "attempt", "host", "started", "ended"}
    assert handed_out["attempt"] == 7
    assert handed_out["started"] <= handed_out["ended"]
    assert unasked["started"] is None
    (header,) = entries(path, "header")
    assert (header["run_id"], header["shard"], header["shards"]) == ("run-1", 0, 1)


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a", None: 2}, {"1": "a", "null": 2}),
        ({"b": 1, "a": math.inf}, {"b": 1, "a": math.inf}),
        ("ä\u2028\n", "ä\u2028\n"),
        (None, None),
        (10**30, 10**30),
    ],
)
def test_a_live_result_is_the_one_that_is_replayed(path: Path, result: Any, kept: Any) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        live = sweep.record(1, result)
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        assert sweep.completed == [live] == [kept]
        assert json.dumps(sweep.completed) == json.dumps([live])  # the order of mappings, too


def test_nan_is_replayed_as_nan(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        assert math.isnan(sweep.record(1, math.nan))
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        assert math.isnan(sweep.completed[0])


@pytest.mark.parametrize("result", [object(), {1, 2}, "\ud800", {(1, 2): 3}], ids=repr)
def test_a_result_that_json_cannot_hold_is_refused_and_nothing_is_written(path: Path, result: Any) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        before = path.read_bytes()
        with pytest.raises(ResultInvalid, match=r'the result of item "1" cannot be kept'):
            sweep.record(1, result)
        assert path.read_bytes() == before
        assert list(sweep.pending) == [1]


def test_an_item_of_somebody_else_is_refused(path: Path) -> None:
    with ResumableSweep([1, 2], checkpoint_path=path) as sweep:
        with pytest.raises(ItemsInvalid, match="not an item of shard 0 of this sweep: 3"):
            sweep.record(3, 0)
        with pytest.raises(ItemsInvalid, match="no key that JSON can hold"):
            sweep.record(object(), 0)


def test_an_item_that_the_program_has_changed_is_still_known(path: Path) -> None:
    with ResumableSweep([{"x": 1}], checkpoint_path=path) as sweep:
        for item in sweep.pending:
            item["note"] = "changed"
            sweep.record(item, 1)
        assert list(sweep.pending) == []


def test_an_equal_item_is_as_good_as_the_one_that_was_handed_out(path: Path) -> None:
    with ResumableSweep([{"x": 1, "y": 2}], checkpoint_path=path) as sweep:
        sweep.record({"y": 2, "x": 1}, 1)
        assert list(sweep.pending) == []


def test_the_items_of_a_pod_are_recorded_under_the_keys_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "items.jsonl").write_text("".join(lines_of([Item("a", {"x": 1}), Item("b", {"x": 2})])))
    for name, value in {"ITEMS": "items.jsonl", "SNAPSHOT_DIR": ".", "SHARD": "1", "SHARDS": "2"}.items():
        monkeypatch.setenv(f"SWEEP_{name}", value)
    monkeypatch.chdir(tmp_path)
    with ResumableSweep() as sweep:
        for item in list(sweep.pending):
            sweep.record(dict(item), item["x"])
    assert [entry["key"] for entry in entries(tmp_path / "results.jsonl", "done")] == ["a", "b"]


def test_the_last_result_of_an_item_wins(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        sweep.record(1, "first")
        sweep.record(1, "second")
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        assert sweep.completed == ["second"]


def test_results_elsewhere_are_copied_with_their_provenance(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "old.jsonl"
    run(source, range(4), stop_after=3)
    before = source.read_bytes()
    assert run(path, range(4), resume_from=source) == ([0, 10, 20], [3])
    assert entries(path, "done")[:3] == entries(source, "done")
    assert source.read_bytes() == before
    source.unlink()
    assert run(path, range(4), resume_from=source) == ([0, 10, 20, 30], [])


def test_the_log_itself_wins_over_results_elsewhere(tmp_path: Path, path: Path) -> None:
    run(tmp_path / "old.jsonl", [1, 2])
    with ResumableSweep([1, 2], checkpoint_path=path) as sweep:
        sweep.record(1, "mine")
    assert run(path, [1, 2], resume_from=tmp_path / "old.jsonl") == (["mine", 20], [])


def test_only_the_shards_own_results_are_copied(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "old.jsonl", range(6))
    monkeypatch.setenv("SWEEP_SHARD", "1")
    monkeypatch.setenv("SWEEP_SHARDS", "2")
    assert run(path, range(6), resume_from=tmp_path / "old.jsonl") == ([10, 30, 50], [])
    assert [entry["key"] for entry in entries(path, "done")] == ["1", "3", "5"]
    assert entries(path, "complete")[0]["total"] == 3


def test_resuming_from_the_log_itself_is_simply_going_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path, range(3), stop_after=1)
    monkeypatch.setenv("SWEEP_RESUME_FROM", f"file://{path}")
    assert run(path, range(3)) == ([0], [1, 2])
    assert len(entries(path, "done")) == 3


def test_a_missing_source_is_a_fresh_start(tmp_path: Path, path: Path) -> None:
    assert run(path, [1], resume_from=tmp_path / "nowhere") == ([], [1])


@pytest.mark.parametrize("content", ["no log", '{"kind":"header","schema_version":3}\n'], ids=["no log", "newer"])
def test_a_source_that_cannot_be_read_is_refused_and_lets_go_of_the_log(
    tmp_path: Path, path: Path, content: str
) -> None:
    (tmp_path / "bad").write_text(content)
    with pytest.raises(LogInvalid, match="bad"):
        run(path, [1], resume_from=tmp_path / "bad")
    assert run(path, [1]) == ([], [1])


def test_a_source_of_another_run_is_refused(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_RUN_ID", "old")
    run(tmp_path / "old.jsonl", [1])
    monkeypatch.setenv("SWEEP_RUN_ID", "new")
    with pytest.raises(LogInvalid, match="holds the results of run old, but this is run new"):
        run(path, [1], resume_from=tmp_path / "old.jsonl")


def test_two_sweeps_cannot_write_one_log(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path), pytest.raises(LogLocked):
        run(path, [1])


def test_a_sweep_is_used_inside_of_its_block_and_only_there(path: Path) -> None:
    sweep = ResumableSweep([1], checkpoint_path=path)
    assert not path.exists()
    for use in (lambda: sweep.completed, lambda: sweep.pending, lambda: sweep.record(1, 1), sweep.checkpoint):
        with pytest.raises(RuntimeError, match="inside of its `with` block"):
            use()
    with sweep:
        with pytest.raises(RuntimeError, match="entered already"):
            sweep.__enter__()
    with sweep:  # it may be entered again, and then reads the log again
        assert sweep.completed == []


def test_any_thread_may_record(path: Path) -> None:
    with ResumableSweep(range(60), checkpoint_path=path) as sweep, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: sweep.record(item, item * 10), sweep.pending))
    assert run(path, range(60)) == ([item * 10 for item in range(60)], [])
    assert len(entries(path, "done")) == 60


def test_a_sweep_runs_off_the_main_thread(path: Path) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(run(path, [1, 2])))
    thread.start()
    thread.join()
    assert found == [([], [1, 2])]


def test_a_forked_child_records_and_does_not_end_the_sweep(start: Any, path: Path) -> None:
    program = start(3, "fork")
    assert program.end() == 0, program.errors()
    assert program.keys("recorded") == [0, 1, 2]
    assert program.keys("ran") == [1, 2]
    program = start(3)
    assert program.end() == 0
    assert "replayed 3" in program.lines


def test_an_item_recorded_in_the_meantime_is_not_handed_out(path: Path) -> None:
    with ResumableSweep([1, 2, 3], checkpoint_path=path) as sweep:
        seen = []
        for item in sweep.pending:
            seen.append(item)
            sweep.record(item, 0)
            if item == 1:
                sweep.record(2, 0)
    assert seen == [1, 3]
