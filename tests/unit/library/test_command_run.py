from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._command.items_given import items_in
from resumable_sweep._identity import run_id_of, run_log_path
from resumable_sweep._seeds import seed_of
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.items import items_of_list, lines_of
from unit.library.commanded import Command, files_in, python, results, with_program

PROGRAM = """
import asyncio, json, os, time

def square(item):
    return {"x2": item["x"] ** 2}

async def slowly(item):
    await asyncio.sleep(0)
    return item["x"]

def seeded(item, *, seed):
    return seed

def picky(item):
    if item["x"] == 1:
        raise ValueError("one is bad")
    return os.getpid()

number = 5
"""
DEADLINE = 30.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with with_program(tmp_path, PROGRAM):
        yield tmp_path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], folder: Path) -> Command:
    return Command(capsys)


# What is run.


@pytest.mark.parametrize("target", ["work:square", "work.py:square", "./work.py:square"])
def test_a_function_is_called_with_each_item(target: str, command: Command) -> None:
    said = command("run", target, "--matrix", "x=0..3", "--checkpoint", "log.jsonl")
    assert said.code == 0
    assert said.out.startswith("4 of 4 items are done: ")
    assert results(command) == [{"x2": number**2} for number in range(4)]


def test_a_coroutine_function_is_one_too(command: Command) -> None:
    command("run", "work.py:slowly", "--matrix", "x=0..3", "--checkpoint", "log.jsonl", "--workers", "3")
    assert results(command) == [0, 1, 2, 3]


def test_the_seed_of_an_item_is_passed_on(command: Command) -> None:
    wanted = [seed_of(5, canonical_json({"x": x})).integer() for x in range(2)]
    words = ["run", "--matrix", "x=0..1", "--seed", "5"]
    command(*words, "work:seeded", "--checkpoint", "a.jsonl", "--pass-seed")
    command(*words, "--checkpoint", "b.jsonl", *python("import sys; print(sys.argv[1])"), "{seed}")
    assert results(command, "a.jsonl") == results(command, "b.jsonl") == wanted


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("print('a line'); print({'a': 1}); print('[1, 2]')", [1, 2]),
        ("print(0.5); print()", 0.5),
        ("print('words')", {"stdout": "words\n", "exit_code": 0}),
        ("pass", {"stdout": "", "exit_code": 0}),
        ("import os; print(os.environ['SWEEP_ITEM'])", {"x": 1, "s": "é"}),
        ("print('[' + '1,' * 200000 + '1]')", [1] * 200001),
        ("print('a' * 100000)", {"stdout": "a" * 65535 + "\n", "exit_code": 0}),
    ],
)
def test_a_command_results_in_its_last_line(text: str, result: Any, folder: Path, command: Command) -> None:
    (folder / "items.jsonl").write_text('{"x": 1, "s": "é"}\n')
    said = command("run", "--items", "items.jsonl", "--checkpoint", "log.jsonl", *python(text))
    assert said.code == 0
    (line,) = command("export", "log.jsonl", "--inline").lines
    assert line["result"] == result


def test_placeholders_stand_for_the_item(folder: Path, command: Command) -> None:
    item = {"key": "k", "a": {"b-c": [1, 2]}, "text": "plain"}
    (folder / "items.jsonl").write_text(json.dumps(item) + "\n")
    words = ["{key}", "--x={item.text}", "{item.a.b-c}", "{item}", '{"json": {}}', "{other}"]
    text = "import sys, json; print(json.dumps(sys.argv[1:]))"
    command("run", "--items", "items.jsonl", "--checkpoint", "log.jsonl", *python(text), *words)
    ((found),) = results(command)
    assert found[:3] == ["k", "--x=plain", "[1,2]"]
    assert json.loads(found[3]) == item
    assert found[4:] == ['{"json": {}}', "{other}"]


def test_a_placeholder_without_a_field_costs_no_try(folder: Path, command: Command) -> None:
    said = command("run", "--matrix", "x=0..1", "--checkpoint", "log.jsonl", "--", "echo", "{item.y}")
    assert said.code == 2
    assert "the fields are x" in said.err
    assert not (folder / "log.jsonl").exists()


def test_a_command_that_fails_is_a_failed_item(command: Command) -> None:
    text = "import sys, os; x = int(sys.argv[1]); sys.stderr.write(f'before\\nbad {x}\\n'); x == 1 and sys.exit(3);"
    text += "x == 2 and os.kill(os.getpid(), 9)"
    words = ["run", "--matrix", "x=0..2", "--checkpoint", "log.jsonl", "--max-attempts", "1"]
    said = command(*words, *python(text), "{item.x}")
    assert said.code == 1
    assert "2 of 3 items have failed" in said.err
    assert "bad 0" in said.err  # what it says is passed on
    failed = command("failed", "log.jsonl", "--json").json
    assert [one["error"].splitlines()[-1] for one in failed] == ["exit status 3: bad 1", "killed by SIGKILL: bad 2"]
    assert "before" in failed[0]["error"]
    assert command(*words, "--on-error", "ignore", *python(text), "{item.x}").code == 0


def test_a_command_that_is_not_there_fails_its_items(command: Command) -> None:
    said = command("run", "--matrix", "x=0", "--checkpoint", "log.jsonl", "--", "no-such-command-at-all")
    assert said.code == 1
    assert "no-such-command-at-all" in command("failed", "log.jsonl").out


# Items.


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("i.jsonl", '{"x": 1}\n\n"a"\n3\n', [{"x": 1}, "a", 3]),
        ("i.jsonl", '{"key": 7, "item": {"x": 1}}\n{"key": "7", "item": 2}\n', [{"x": 1}, 2]),
        ("i.json", '[{"x": 1}, null]', [{"x": 1}, None]),
        (
            "i.csv",
            "x,name,on\n1,007,true\n1e-3,NaN,\n",
            [{"x": 1, "name": "007", "on": True}, {"x": 0.001, "name": "NaN", "on": ""}],
        ),
    ],
)
def test_items_come_from_files(name: str, text: str, values: list[Any], folder: Path, command: Command) -> None:
    (folder / name).write_text(text)
    command("run", "--items", name, "--checkpoint", "log.jsonl", *python("import os; print(os.environ['SWEEP_ITEM'])"))
    lines = command("export", "log.jsonl", "--items", name).lines
    assert [line["result"] for line in lines] == values
    if "key" in text:
        assert [line["key"] for line in lines] == [7, "7"]


def test_a_row_ends_where_its_line_does_and_at_no_other_character(folder: Path) -> None:
    texts = ["one\u2028line", "form\x0cfeed", "two\nlines", "next\x85line", "group\x1dend", "carriage\r\nreturn"]
    with (folder / "i.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    read = [item.value["text"] for item in items_in(folder / "i.csv")]
    assert read == [text.replace("\r\n", "\n") for text in texts]


def test_a_matrix_is_all_combinations(command: Command) -> None:
    command("run", "work.py:square", "--matrix", "y=0.1,no,true,null; x=-1..1,7", "--checkpoint", "log.jsonl")
    keys = [json.loads(line["key"]) for line in command("export", "log.jsonl").lines]
    assert keys == [{"x": x, "y": y} for x in (-1, 0, 1, 7) for y in (0.1, "no", True, None)]


def test_items_of_a_pod_are_its_share(folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of_list([{"key": "a", "x": 1}, {"key": "b", "x": 2}])
    (folder / "items").write_text("".join(lines_of(items)))
    monkeypatch.setenv("SWEEP_ITEMS", str(folder / "items"))
    monkeypatch.setenv("SWEEP_SNAPSHOT_DIR", str(folder / "out"))
    assert command("run", "--", "echo", '"{key}{item.x}"').code == 0
    assert results(command, "out/results.jsonl") == ["a1", "b2"]


def test_shards_take_their_share(command: Command) -> None:
    for shard in range(2):
        words = ["--shard", f"{shard}/2", "--checkpoint", f"{shard}.jsonl"]
        assert command("run", "work.py:square", "--matrix", "x=0..4", *words).code == 0
    assert [line["result"]["x2"] for line in command("export", "0.jsonl", "1.jsonl").lines] == [0, 4, 16, 1, 9]


# Where the results go.


def test_a_folder_of_runs_names_them_by_what_they_are_made_from(folder: Path, command: Command) -> None:
    (folder / "config.toml").write_text("lr = 0.5\n")
    words = ["run", "work.py:square", "--folder", "runs"]
    assert command(*words, "--matrix", "x=0..1", "--config", "config.toml").code == 0
    log = run_log_path(Path("runs"), run_id_of({"lr": 0.5}))
    assert command("show", log, "--json").json["config"] == {"lr": 0.5}
    said = command(*words, "--matrix", "x=0..3", "--config", "config.toml", "--json").json
    assert (said["replayed"], said["recorded"]) == (2, 2)
    command(*words, "--matrix", "x=0..3")
    other = run_id_of({"command": ["work.py:square"]})
    assert {one["name"] for one in command("list", "runs", "--json").json} == {log.parent.name, other}
    os.utime(log, (1, 1))
    assert command(*words, "--matrix", "x=0..5", "--resume", "latest", "--json").json["replayed"] == 4
    assert {path.name for path in Path("runs").iterdir()} == {log.parent.name, other}
    assert command("show", f"runs/{other}", "--json").json["total"] == 6
    assert command(*words, "--matrix", "x=0..6", "--resume", log.parent.name[:5], "--json").json["replayed"] == 4
    said = command(*words, "--matrix", "x=0..1", "--resume", "none")
    assert said.code == 66
    assert "holds no run 'none'" in said.err


def test_the_latest_of_no_runs_is_a_fresh_start(command: Command) -> None:
    assert command("run", "work.py:square", "--matrix", "x=0", "--folder", "runs", "--resume", "latest").code == 0
    assert len(command("list", "runs", "--json").json) == 1


def test_nothing_is_overwritten_unasked_and_what_is_is_kept(folder: Path, command: Command) -> None:
    words = ["run", "work.py:square", "--checkpoint", "log.jsonl"]
    command(*words, "--matrix", "x=0..2")
    before = files_in(folder)
    said = command(*words, "--matrix", "x=0", "--no-resume")
    assert said.code == 2
    assert "add --overwrite" in said.err
    assert command(*words, "--matrix", "x=0", "--overwrite").code == 2
    assert {name: data for name, data in files_in(folder).items() if "pycache" not in name} == {
        name: data for name, data in before.items() if "pycache" not in name
    }
    assert command(*words, "--matrix", "x=0", "--no-resume", "--overwrite", "--json").json["replayed"] == 0
    assert (folder / "log.jsonl.backup-1").read_bytes() == before["log.jsonl"]
    assert command("verify", "log.jsonl.backup-1", "log.jsonl").code == 0
    assert len(command("export", "log.jsonl.backup-1").lines) == 3
    command(*words, "--matrix", "x=0", "--no-resume", "--overwrite")
    assert (folder / "log.jsonl.backup-2").exists()


def test_a_log_in_use_is_not_overwritten(folder: Path, command: Command) -> None:
    with ResumableSweep([1], checkpoint_path="log.jsonl", script=False):
        words = ["run", "work.py:square", "--matrix", "x=0", "--checkpoint", "log.jsonl"]
        assert command(*words).code == 75
        assert command(*words, "--no-resume", "--overwrite").code == 75
    assert not list(folder.glob("*.backup-*"))


def test_results_are_taken_from_elsewhere(command: Command) -> None:
    command("run", "work.py:square", "--matrix", "x=0..2", "--checkpoint", "a.jsonl")
    words = ["run", "work.py:square", "--matrix", "x=0..3", "--checkpoint", "b.jsonl"]
    assert command(*words, "--resume-from", "a.jsonl", "--json").json["replayed"] == 3


def test_a_changed_script_is_refused(folder: Path, command: Command) -> None:
    script = folder / "one.sh"
    words = ["run", "--checkpoint", "log.jsonl", "--matrix"]
    script.write_text("echo 1\n")
    assert command(*words, "x=0", "--", "sh", "one.sh").code == 0
    script.write_text("echo 2\n")
    said = command(*words, "x=0..1", "--", "sh", "one.sh")
    assert said.code == 84
    assert "holds results of another script" in said.err
    assert command(*words, "x=0..1", "--no-script", "--", "sh", "one.sh").code == 0
    assert results(command) == [1, 2]


# What is refused.


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["work.py:square"], 2, "pass --items FILE or --matrix"),
        (["--matrix", "x=0"], 2, "there is nothing to run"),
        (["work.py:square", "--matrix", "x=0"], 2, "nowhere to write results"),
        (["work.py:square", "--matrix", "x=0", "--checkpoint", "l", "--", "echo"], 2, "give one"),
        (["work", "--matrix", "x=0", "--checkpoint", "l"], 2, "a command comes after --"),
        (["work.py:none", "--matrix", "x=0", "--checkpoint", "l"], 2, "work.py has no none"),
        (["work.py:number", "--matrix", "x=0", "--checkpoint", "l"], 2, "no function"),
        (["nowhere.py:square", "--matrix", "x=0", "--checkpoint", "l"], 66, "there is no file"),
        (["nowhere:square", "--matrix", "x=0", "--checkpoint", "l"], 2, "there is no module nowhere"),
        (["work:square", "--matrix", "x", "--checkpoint", "l"], 2, "NAME=VALUE"),
        (["work:square", "--matrix", "x=1;x=2", "--checkpoint", "l"], 2, "has x twice"),
        (["work:square", "--matrix", "x=2..1", "--checkpoint", "l"], 2, "must go up"),
        (["work:square", "--matrix", "x=1,1", "--checkpoint", "l"], 65, "same key"),
        (["work:square", "--items", "none.json", "--checkpoint", "l"], 66, "no such file"),
        (["work:square", "--items", "work.py", "--checkpoint", "l"], 2, ".jsonl, .json, .csv"),
        (["work:square", "--matrix", "x=0", "--checkpoint", "l", "--shard", "4/4"], 2, "shards count from 0"),
        (["work:square", "--matrix", "x=0", "--checkpoint", "l", "--resume", "latest"], 2, "goes with --folder"),
        (["work:square", "--matrix", "x=0", "--checkpoint", "l", "--workers", "0"], 2, "1 or more"),
        (["--matrix", "x=0", "--checkpoint", "l", "--workers", "0", "--", "true"], 2, "1 or more"),
        (["--matrix", "x=0", "--checkpoint", "l", "--mode", "threads", "--", "true"], 2, "is for functions"),
        (["work:square", "--matrix", "x=0", "--checkpoint", "l", "--max-attempts", "0"], 2, "max_attempts"),
        (["work:square", "--matrix", "x=0", "--checkpoint", "l", "--config", "work.py"], 2, "is not JSON"),
        (["work:seeded", "--matrix", "x=0", "--checkpoint", "l"], 2, "seed"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    words: list[str], code: int, text: str, folder: Path, command: Command
) -> None:
    said = command("run", *words)
    assert said.code == code
    assert text in said.err
    assert "Traceback" not in said.err
    assert not (folder / "l").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("i.jsonl", '{"x": 1}\n{', "line 2 is not JSON"),
        ("i.json", '{"x": 1}', "a list of items"),
        ("i.csv", "a,b\n1\n", "line 2 has not as many cells"),
        ("i.jsonl", "1\n1\n", "same key"),
        ("i.jsonl", '{"key": 1, "item": 5}\n{"key": 2, "item": 5}\n', "same value"),
    ],
)
def test_items_that_are_none_are_refused(name: str, text: str, words: str, folder: Path, command: Command) -> None:
    (folder / name).write_text(text)
    said = command("run", "work.py:square", "--items", name, "--checkpoint", "log.jsonl")
    assert said.code == 65
    assert words in said.err
    assert name in said.err
