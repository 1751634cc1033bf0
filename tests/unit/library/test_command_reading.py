from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._identity import run_log_path
from resumable_sweep._state import save_state
from resumable_sweep._statistics import Stats, statistics_path
from resumable_sweep.contract.log_format import line_of
from unit.library.commanded import Command, files_in

CONFIG = {"lr": 0.5}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def swept(log: Path, *, items: int = 6, run_id: str | None = None) -> Stats:
    """A sweep whose items 1, 2 and 3 have failed, were skipped and never ended; the last one was never begun."""
    sweep = opened(log, items=items, run_id=run_id, config=CONFIG, seed=7)
    with sweep:
        for item in sweep.pending:
            if item == 1:
                sweep.fail(item, ValueError("no good"))
            elif item == 2:
                sweep.skip(item, "out of range")
            elif item == items - 2:
                break
            elif item != 3:
                sweep.record(item, {"x": item})
    with sweep:
        return sweep.stats()


def opened(log: Path, *, items: int = 6, **parameters: Any) -> ResumableSweep:
    return ResumableSweep(range(items), checkpoint_path=log, script=False, on_error="ignore", **parameters)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    swept(path)
    return path


def test_states_are_those_of_the_sweep_itself(log: Path, command: Command) -> None:
    with opened(log) as sweep:
        wanted = {
            "done": [key for key, _ in sweep.results()],
            "failed": [one.item for one in sweep.find_failed()],
            "skipped": [one.item for one in sweep.find_skipped()],
            "in progress": sweep.find_in_progress(),
        }
        missing = sweep.find_missing()
    found = command("show", log, "--items", "--json").lines
    assert {state: [int(one["key"]) for one in found if one["state"] == state] for state in wanted} == wanted
    said = command("show", log, "--json").json
    assert said["states"] == {**{state: len(keys) for state, keys in wanted.items()}, "missing": len(missing)}
    assert said["total"] == 6
    assert not said["complete"]


def test_show_tells_of_what_the_results_were_made_from(log: Path, command: Command) -> None:
    said = command("show", log, "--json").json
    assert (said["config"], said["seed"], said["schema_version"]) == (CONFIG, 7, 2)
    assert [entry["kind"] for entry in said["history"]] == ["resumed"]
    assert said["history"][0]["replayed"] == 1
    text = command("show", log).out
    for words in (
        '{"lr":0.5}',
        "1 done, 1 failed, 1 skipped, 2 in progress, 1 missing of 6",
        "resumed on",
        "1 results",
    ):
        assert words in text


def test_show_tells_what_was_set_aside(log: Path, command: Command) -> None:
    log.write_bytes(log.read_bytes().replace(b'"x":0', b'"x":9', 1))
    with pytest.warns(match="is damaged"), opened(log):
        pass
    text = command("show", log).out
    assert f"it is kept as {log}.corrupt-1; used instead: all other lines of it" in text


def test_stats_are_those_the_sweep_was_left_with(log: Path, command: Command) -> None:
    with opened(log) as sweep:
        sweep.record(5, 1)
        wanted = sweep.stats()
    found = command("stats", log, "--json").json
    running = ("seconds", "rate", "eta_s")
    left = {name: value for name, value in found.items() if name not in running}
    assert left == {name: value for name, value in asdict(wanted).items() if name not in running}
    assert found["recorded"] == 1
    assert "recorded         1" in command("stats", log).out


def test_stats_of_a_log_that_went_on_are_counted_anew(log: Path, command: Command) -> None:
    before = command("stats", log, "--json").json
    statistics_path(log).unlink()
    found = command("stats", log, "--json").json
    same = ("total", "completed", "failed", "skipped", "in_progress", "missing", "resumes", "fall_backs")
    assert {name: found[name] for name in same} == {name: before[name] for name in same}
    assert found["seconds_saved"] == pytest.approx(before["seconds_saved"])


def test_stats_for_prometheus_carry_labels(log: Path, command: Command) -> None:
    said = command("stats", log, "--prometheus", "--label", "run=a")
    assert 'resumable_sweep_items{run="a",state="failed"} 1\n' in said.out
    assert command("stats", log, "--prometheus", "--label", "state=a").code == 2
    assert command("stats", log, "--label", "run=a").code == 2
    assert "must be NAME=VALUE" in command("stats", log, "--prometheus", "--label", "run").err


def test_failed_tells_error_and_traceback(log: Path, command: Command) -> None:
    (one,) = command("failed", log, "--json").json
    assert (one["key"], one["error"], one["failures"]) == ("1", "ValueError: no good", 1)
    assert "ValueError: no good" in command("failed", log).out
    assert "Traceback" not in command("failed", log).out
    assert "ValueError: no good" in command("failed", log, "--traceback").out


def test_text_without_a_form_in_utf_8_is_shown_all_the_same(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "log.jsonl"
    with ResumableSweep([1], checkpoint_path=log, script=False, on_error="ignore") as sweep:
        for item in sweep.pending:
            sweep.fail(item, ValueError("half \ud800\x1b[31m"))
    said = command("failed", log)
    assert said.code == 0
    assert "half " in said.out
    assert "\x1b" not in said.out


def test_list_tells_of_runs_and_logs(tmp_path: Path, command: Command) -> None:
    stats = swept(run_log_path(tmp_path, "one"), run_id="one")
    with ResumableSweep(range(3), checkpoint_path=tmp_path / "b.jsonl", script=False) as sweep:
        for item in sweep.pending:
            sweep.record(item, item)
    (tmp_path / "notes.jsonl").write_text('{"kind": "note"}\n')
    os.utime(tmp_path / "b.jsonl", (1, 1))
    run, log = command("list", tmp_path, "--json").json
    assert (run["name"], run["kind"], run["run_id"], run["complete"]) == ("one", "run", "one", False)
    assert (run["done"], run["total"], run["failed"], run["skipped"]) == (stats.completed, 6, 1, 1)
    assert (log["name"], log["kind"], log["done"], log["total"], log["complete"]) == ("b.jsonl", "log", 3, 3, True)
    statistics_path(run_log_path(tmp_path, "one")).unlink()
    assert command("list", tmp_path, "--json").json[0] == run
    assert [line.split()[0] for line in command("list", tmp_path).out.splitlines()] == ["NAME", "one", "b.jsonl"]


def test_list_goes_on_after_a_log_that_cannot_be_read(tmp_path: Path, command: Command) -> None:
    swept(tmp_path / "good.jsonl")
    (tmp_path / "new.jsonl").write_bytes(line_of({"kind": "header", "schema_version": 3}))
    found = {one["name"]: one["problem"] for one in command("list", tmp_path, "--json").json}
    assert found["good.jsonl"] is None
    assert "newer" in found["new.jsonl"]


def test_list_checkpoints_has_states_too(tmp_path: Path, command: Command) -> None:
    swept(tmp_path / "a.jsonl")
    save_state(tmp_path / "model.bin", b"weights")
    out = command("--list-checkpoints", tmp_path).out
    assert {line.split()[1] for line in out.splitlines()[1:]} == {"log", "state"}
    said = command("run", "--folder", tmp_path, "--list-checkpoints", "--json").json
    assert {one["name"] for one in said} == {"a.jsonl", "model.bin"}


def test_reading_changes_nothing_while_the_log_is_written(tmp_path: Path, command: Command) -> None:
    log = tmp_path / "log.jsonl"
    with ResumableSweep(range(3), checkpoint_path=log, script=False) as sweep:
        first = next(sweep.pending)
        sweep.record(first, 1)
        with log.open("ab") as file:
            file.write(b'{"kind":"done","key":"1","resu')  # the next line, half of it there
        before = files_in(tmp_path)
        for words in (["show"], ["show", "--items"], ["failed"], ["stats"], ["verify"], ["export", "--partial"]):
            assert command(*words, log).code == 0, words
        assert command("list", tmp_path).code == 0
        assert files_in(tmp_path) == before
        os.truncate(log, sweep._entered().opened.log.end)


@pytest.mark.parametrize("name", ["show", "failed", "stats", "export", "repair", "verify"])
def test_what_is_no_log_is_refused_in_a_sentence(name: str, tmp_path: Path, command: Command) -> None:
    said = command(name, tmp_path / "none.jsonl")
    assert said.code == 66
    assert said.err.count("\n") == 1
    assert "none.jsonl" in said.err
    other = tmp_path / "other.jsonl"
    other.write_text("a: b\n")
    said = command(name, other)
    assert said.code == 65
    assert "is not a sweep's log" in said.err
    newer = tmp_path / "newer.jsonl"
    newer.write_bytes(line_of({"kind": "header", "schema_version": 3}))
    said = command(name, newer)
    assert said.code == 65
    assert "install a newer resumable-sweep" in said.err
    assert said.err.count("\n") == 1


def test_no_command_and_no_folder_are_usage_errors(tmp_path: Path, command: Command) -> None:
    assert command().code == 2
    assert command("nonsense").code == 2
    assert command("list", tmp_path / "none").code == 66
