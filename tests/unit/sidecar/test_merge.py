from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.outcome import Exit
from sweep_sidecar.housekeeping import merge
from sweep_sidecar.log.entry import Kind
from sweep_sidecar.merging.gathering import RunShape, gather
from sweep_sidecar.merging.records import Records, State
from sweep_sidecar.progress import settled_entries
from sweep_sidecar.settings import RunSettings
from unit.sidecar.run_on_disk import HEADER, RunOnDisk, done, failed, files_in, parsed_lines, skipped

SEED = 5


def started(key: object) -> str:
    return json.dumps({"kind": "started", "key": key, "at": 1.0}) + "\n"


def random_log(chance: random.Random, *, keys: int, lines: int) -> str:
    makers = (lambda key: done(key, chance.random()), lambda key: skipped(key, "no"), lambda key: failed(key, "e"))
    return HEADER + "".join(chance.choice([*makers, started])(chance.randrange(keys)) for _ in range(lines))


def test_a_stream_of_records_says_what_all_of_them_held_in_memory_say(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for number in range(15):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = RunOnDisk(folder)
        logs = {f"{name}.jsonl": random_log(chance, keys=6, lines=chance.randrange(1, 40)) for name in "ab"}
        run.attempt(0, [logs])
        results: dict[str, dict[str, Any]] = {}
        others: dict[str, dict[str, Any]] = {}
        for _, text in sorted(logs.items()):
            of_log, passed_over = settled_entries(parsed_lines(text))
            results |= of_log
            others |= passed_over
        expected = sorted(results.items())
        with Records() as records:
            gather(run.store, RunShape(run_id="run", shards=1, items_sha256=""), records, partial=False)
            lines = [json.loads(line) for line in records.lines(State.DONE)]
            assert lines == [{"key": one["key"], "result": one["result"]} for _, one in expected], number
            listed = [canonical_json(json.loads(line)["key"]) for line in records.lines(State.SKIPPED)]
            assert listed == sorted(others.keys() - results.keys()), number
            failures = {canonical_json(json.loads(line)["key"]) for line in records.lines(State.FAILED)}
            assert not failures & (results.keys() | others.keys())


def test_failed_is_what_went_wrong_last(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path)
    log = HEADER + failed("again", "e") + started("again") + failed("wrong", "f") + failed("right", "g")
    run.attempt(0, [{"results.jsonl": log + done("right", 1)}])
    assert run.command("merge", run.url, "-o", str(tmp_path / "out.jsonl"), "--failed") == 0
    assert [line["key"] for line in parsed_lines((tmp_path / "out.failed.jsonl").read_bytes())] == ["wrong"]


def test_the_command_writes_the_bytes_of_the_merge_in_the_store(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    run = RunOnDisk(tmp_path, shards=2, items=[{"key": "b"}, {"key": "é\u2028"}, {"key": 3}])
    run.attempt(0, [{"results.jsonl": HEADER + done("b", {"y": float("nan"), "x": [1]}) + done(3, "\ud800")}])
    run.attempt(1, [{"results.jsonl": HEADER + done("é\u2028", None)}])
    settings = RunSettings(store_url=run.url, run_id="run", shards=2, items_sha256=run.items_sha256)
    merged = merge(run.store, settings)
    assert run.command("merge", run.url) == 0
    results = capsysbinary.readouterr().out
    assert hashlib.sha256(results).hexdigest() == merged.sha256
    assert results == (run.root / "merged" / f"{merged.sha256}.jsonl").read_bytes()
    # Half of a surrogate pair is not UTF-8: it stays the escape that it was.
    assert [line["result"] for line in parsed_lines(results)][1:] == [None, "\ud800"]
    assert run.command("merge", run.url, "-o", str(tmp_path / "out.jsonl"), "--provenance") == 0
    assert (tmp_path / "out.jsonl").read_bytes() == results
    origins = (tmp_path / "out.provenance.jsonl").read_bytes()
    assert origins == (run.root / "merged" / f"{merged.sha256}.provenance.jsonl").read_bytes()


def test_only_a_complete_run_is_merged_unless_asked_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunOnDisk(tmp_path, shards=3, items=["a", "b", "c", "d"])
    log = HEADER + done('"c"', 1) + skipped('"d"', "too large") + done("no item", 0)
    run.attempt(0, [{"results.jsonl": log}], end=None)
    run.attempt(2, [{"results.jsonl": HEADER + done('"a"', 2)}])
    out = tmp_path / "out.jsonl"
    assert run.command("merge", run.url, "-o", str(out)) == Exit.INCOMPLETE
    assert "shard 0 ends in gen, shard 1 ends in nothing" in capsys.readouterr().err
    assert not out.exists()
    assert run.command("merge", run.url, "-o", str(out), "--partial", "--missing", "--skipped") == 0
    assert [line["key"] for line in parsed_lines(out.read_bytes())] == ['"a"', '"c"']
    assert parsed_lines((tmp_path / "out.missing.jsonl").read_bytes()) == [{"key": '"b"'}]
    assert parsed_lines((tmp_path / "out.skipped.jsonl").read_bytes())[0]["why"] == "too large"
    told = capsys.readouterr().err
    assert "2 results; 1 skipped; 1 of keys that are no items left out; not complete: shard 0 ends in gen" in told


def test_a_run_is_merged_anew_when_all_that_came_is_what_was_skipped(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path, items=["a", "b", "c"])
    settings = RunSettings(store_url=run.url, run_id="run", shards=1, items_sha256=run.items_sha256)
    log = HEADER + done('"a"', 1, host="x") + skipped('"b"', "no")
    run.attempt(0, [{"results.jsonl": log + failed('"c"', "e")}], end=Kind.SEAL)
    first = merge(run.store, settings, partial=True)
    log += done('"a"', 1, host="y") + skipped('"c"', "neither")
    run.attempt(0, [{"results.jsonl": log}], attempt=1)
    for _ in range(2):
        second = merge(run.store, settings)
        assert (second.url, second.items, second.skipped) == (first.url, 1, 2)
        listed = run.store.get(second.skipped_url.removeprefix(f"{run.url}/"))
        assert [line["key"] for line in parsed_lines(listed)] == ['"b"', '"c"']
        origin = run.store.get(second.provenance_url.removeprefix(f"{run.url}/"))
        assert [line["host"] for line in parsed_lines(origin)] == ["y"]
    assert merge(run.store, settings, partial=True) == second
    assert run.command("verify", run.url) == 0


def test_a_missing_item_of_complete_shards_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path, items=["a", "b"])
    run.attempt(0, [{"results.jsonl": HEADER + done('"a"', 1)}])
    assert run.command("merge", run.url) == Exit.INCOMPLETE
    assert "neither a result nor a skip of 1 of 2 items" in capsys.readouterr().err


def test_shards_that_do_not_keep_to_their_share_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path, shards=2)
    for shard in (0, 1):
        run.attempt(shard, [{"results.jsonl": HEADER + done("a", shard)}])
    assert run.command("merge", run.url) == Exit.DUPLICATE_KEYS
    assert 'item "a" was recorded by shard 0 and by shard 1' in capsys.readouterr().err


def test_lines_cut_anywhere_come_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep_sidecar.capture.growing.BLOB_BYTES", len(HEADER) + 3)
    run = RunOnDisk(tmp_path)
    log = HEADER + "".join(done(f"key-{number}", "x" * number) for number in range(30))
    run.attempt(0, [{"results.jsonl": log}])
    assert run.command("merge", run.url, "-o", str(tmp_path / "out.jsonl")) == 0
    assert [len(line["result"]) for line in parsed_lines((tmp_path / "out.jsonl").read_bytes())] == sorted(
        range(30), key=lambda number: f"key-{number}"
    )


def test_a_damaged_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path)
    (seq,) = run.attempt(0, [{"results.jsonl": HEADER + done("a", 1)}])
    body = run.entry(0, seq).read_bytes()
    assert b"done" in body
    run.entry(0, seq).write_bytes(body.replace(b"done", b"gone"))
    assert run.command("merge", run.url) == Exit.CHECKPOINT_CORRUPT
    assert run.entry(0, seq).name in capsys.readouterr().err


def test_where_no_temporary_file_can_be_made_it_is_done_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    run = RunOnDisk(tmp_path)
    run.attempt(0, [{"results.jsonl": HEADER + done("a", 1)}])
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    settings = RunSettings(store_url=run.url, run_id="run", shards=1, items_sha256="")
    assert merge(run.store, settings).items == 1


def test_mappings_become_columns(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path)
    log = HEADER + done("a", {"loss": 0.5, "best": {"lr": 1}, "x y": [1, 2]}) + done(2, {"loss": 'a "b", c\n'})
    run.attempt(0, [{"results.jsonl": log}])
    assert run.command("merge", run.url, "--format", "csv", "-o", str(tmp_path / "out.csv")) == 0
    assert (tmp_path / "out.csv").read_text() == (
        'key,result.best.lr,result.loss,"result[""x y""]"\na,1,0.5,"[1,2]"\n2,,"a ""b"", c\n",\n'
    )


def test_parquet_keeps_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run = RunOnDisk(tmp_path)
    log = HEADER + done("a", {"n": 1, "f": 1, "m": 1, "b": True}) + done("b", {"n": 2, "f": 0.5, "m": "x", "b": None})
    run.attempt(0, [{"results.jsonl": log}])
    out = tmp_path / "out.parquet"
    assert run.command("merge", run.url, "--format", "parquet", "-o", str(out)) == 0
    assert parquet.read_table(out).to_pylist() == [
        {"key": "a", "result.b": True, "result.f": 1.0, "result.m": "1", "result.n": 1},
        {"key": "b", "result.b": None, "result.f": 0.5, "result.m": '"x"', "result.n": 2},
    ]


def test_parquet_without_its_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunOnDisk(tmp_path)
    run.attempt(0, [{"results.jsonl": HEADER + done("a", 1)}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("sweep_sidecar.inspection.exporting.find_spec", lambda name: None)
    assert run.command("merge", run.url, "--format", "parquet", "-o", str(tmp_path / "out")) == 2
    assert "needs the package pyarrow" in capsys.readouterr().err


def file_tag(name: str, data: bytes, **other: object) -> dict[str, object]:
    sha256 = hashlib.sha256(data).hexdigest()
    fields = {"path": f"{name}.files/{sha256}.bin", "sha256": sha256, "size_bytes": len(data), "kind": "bytes"}
    return {"$sweep.file": {**fields, **other}}


def test_results_in_side_files_are_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path)
    data = bytes(range(256)) * 500
    tag = file_tag("results.jsonl", data)
    sha256 = hashlib.sha256(data).hexdigest()
    log = HEADER + done("a", {"deep": [tag, tag]}) + done("b", 1)
    run.attempt(0, [{"results.jsonl": log, f"results.jsonl.files/{sha256}.bin": data}])
    words = ("merge", run.url, "-o", str(tmp_path / "out.jsonl"), "--side-files", str(tmp_path / "files"))
    assert run.command(*words) == 0
    assert files_in(tmp_path / "files") == {f"{sha256}.bin": data}
    assert parsed_lines((tmp_path / "out.jsonl").read_bytes())[0]["result"] == {"deep": [tag, tag]}
    assert "2 results; 1 side files" in capsys.readouterr().err
    (blob,) = run.blobs()
    blob.write_bytes(data[:-1] + b"!")
    assert run.command(*words) == Exit.CHECKPOINT_CORRUPT
    assert blob.name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (file_tag("results.jsonl", b"other"), "which is not stored"),
        ({"$sweep.file": 3}, "names a file by 3"),
        (file_tag("x", b"data", path=f"../../{hashlib.sha256(b'data').hexdigest()}.bin"), ""),
    ],
)
def test_a_side_file_that_cannot_be_is_refused_and_none_leads_out(
    tmp_path: Path, tag: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunOnDisk(tmp_path)
    name = f"{hashlib.sha256(b'data').hexdigest()}.bin"
    run.attempt(0, [{"results.jsonl": HEADER + done("a", tag), f"results.jsonl.files/{name}": b"data"}])
    folder = tmp_path / "deep" / "deeper" / "files"
    ending = run.command("merge", run.url, "--side-files", str(folder))
    if message:
        assert ending == Exit.CHECKPOINT_CORRUPT
        assert message in capsys.readouterr().err
    else:
        assert files_in(tmp_path / "deep") == {f"deeper/files/{name}": b"data"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--failed",), "--failed writes a file beside the results"),
        (("--format", "parquet"), "is no text: say where it goes"),
        (("-o", "/nowhere/at/all"), "there is no folder /nowhere/at"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunOnDisk(tmp_path)
    run.attempt(0, [], end=Kind.SEAL)
    assert run.command("merge", run.url, *words) == 2
    assert message in capsys.readouterr().err


def test_items_may_stay_open_in_a_shard_whose_program_s_end_was_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunOnDisk(tmp_path, shards=2, items=["a", "b", "c", "d", "e"])
    run.attempt(0, [{"results.jsonl": HEADER + done('"a"', 1)}], proof="exit")
    run.attempt(1, [{"results.jsonl": HEADER + done('"b"', 2)}], proof="items")
    settings = RunSettings(store_url=run.url, run_id="run", shards=2, items_sha256=run.items_sha256)
    # Of c, d and e, all but d belong to the first shard.
    assert run.command("merge", run.url) == Exit.INCOMPLETE
    assert 'neither a result nor a skip of 1 of 5 items ("\\"d\\"")' in capsys.readouterr().err
    whole = RunOnDisk(tmp_path / "whole", shards=2, items=["a", "b", "c", "d", "e"])
    whole.attempt(0, [{"results.jsonl": HEADER + done('"a"', 1)}], proof="exit")
    whole.attempt(1, [{"results.jsonl": HEADER + done('"b"', 2) + done('"d"', 4)}], proof="items")
    merged = merge(whole.store, settings)
    assert (merged.items, merged.open, merged.skipped) == (3, 2, 0)
    out = tmp_path / "out.jsonl"
    assert whole.command("merge", whole.url, "-o", str(out), "--missing") == 0
    assert [line["key"] for line in parsed_lines((tmp_path / "out.missing.jsonl").read_bytes())] == ['"c"', '"e"']


def gmat_run(run_id: int, status: str, *, seconds: float) -> dict[str, Any]:
    folder = f"/sweep/snapshot/out/run-{run_id}"
    return {
        "run_id": run_id,
        "overrides": {"Sat.SMA": 7000 + run_id},
        "status": status,
        "output_paths": {"report": f"{folder}/report.parquet"} if status == "ok" else {},
        "log_path": f"{folder}/worker.log",
        "duration_s": seconds,
        "started_at": f"2026-03-01T12:00:0{run_id}+00:00",
        "ended_at": "2026-03-01T12:00:30+00:00",
        "stderr": None if status == "ok" else "trace\nRuntimeError: no convergence",
    }


def gmat_manifest(*runs: dict[str, Any]) -> str:
    header = {"gmat_sweep_version": "0.6.0", "run_count": 3, "schema_version": 1, "script_sha256": "ab"}
    return "".join(json.dumps(each) + "\n" for each in [header, *runs])


def test_runs_of_gmat_sweep_are_merged_the_same_however_often_they_were_tried(tmp_path: Path) -> None:
    straight = RunOnDisk(tmp_path / "straight")
    text = gmat_manifest(*(gmat_run(number, "ok", seconds=1.5) for number in range(3)))
    straight.attempt(0, [{"out/manifest.jsonl": text}], proof="exit", progress="gmat")
    broken = RunOnDisk(tmp_path / "broken")
    runs = [(2, "ok"), (0, "failed"), (1, "failed"), (1, "ok"), (0, "ok")]
    text = gmat_manifest(*(gmat_run(number, status, seconds=number / 7) for number, status in runs))
    broken.attempt(0, [{"out/manifest.jsonl": text[:-400]}], end=None, progress="gmat")
    broken.attempt(0, [{"out/manifest.jsonl": text}], attempt=1, proof="exit", progress="gmat")
    settings = RunSettings(store_url=straight.url, run_id="run", shards=1, items_sha256="")
    merged = [merge(run.store, settings) for run in (straight, broken)]
    assert merged[0].sha256 == merged[1].sha256
    (first, *_) = parsed_lines(straight.store.get(f"merged/{merged[0].sha256}.jsonl"))
    assert first == {
        "key": 0,
        "result": {
            "overrides": {"Sat.SMA": 7000},
            "output_paths": {"report": "out/run-0/report.parquet"},
            "log_path": "out/run-0/worker.log",
        },
    }
    (origin, *_) = parsed_lines(straight.store.get(f"merged/{merged[0].sha256}.provenance.jsonl"))
    assert (origin["started"], origin["ended"]) == (1772366400.0, 1772366430.0)


def test_a_run_of_gmat_sweep_that_failed_last_has_no_result(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path)
    runs = [gmat_run(0, "ok", seconds=1), gmat_run(0, "failed", seconds=1), gmat_run(1, "ok", seconds=1)]
    run.attempt(0, [{"manifest.jsonl": gmat_manifest(*runs)}], proof="exit", progress="gmat")
    out = tmp_path / "out.jsonl"
    assert run.command("merge", run.url, "-o", str(out), "--failed") == 0
    assert [line["key"] for line in parsed_lines(out.read_bytes())] == [1]
    (failure,) = parsed_lines((tmp_path / "out.failed.jsonl").read_bytes())
    assert (failure["key"], failure["error"]) == (0, "RuntimeError: no convergence")
