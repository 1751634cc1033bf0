"""The command as it is typed, and the page that describes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sweep_sidecar.inspection import program
from sweep_sidecar.inspection.table import age_text, size_text, time_text
from unit.sidecar.run_on_disk import HEADER, RunOnDisk, done

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "store-command.md").read_text()


def typed(*words: str, program: str = "sweep_sidecar") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", program, "store", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_librarys_command_finds_it() -> None:
    (found,) = entry_points(group="resumable_sweep.commands", name="store")
    assert found.load() is program.main


def test_it_can_be_typed_where_only_the_sidecar_is(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path)
    run.attempt(0, [{"results.jsonl": HEADER + done("é", 1)}])
    told = typed("merge", run.top)
    assert (told.returncode, told.stdout) == (0, '{"key":"é","result":1}\n')
    assert told.stderr == "resumable-sweep: 1 results\n"
    assert typed("ls", f"{run.url}/nothing").returncode == 66
    usage = typed()
    assert usage.returncode == 2
    assert "usage: resumable-sweep store" in usage.stderr


def test_a_store_that_cannot_be_reached_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("a file where a folder should be")
    told = typed("ls", f"file://{tmp_path}/locked/store")
    assert told.returncode == 69
    assert told.stderr.startswith("resumable-sweep: cannot list")


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    run = RunOnDisk(tmp_path)
    log = HEADER + "".join(done(number, "x" * 200) for number in range(3000))
    run.attempt(0, [{"results.jsonl": log}])
    words = [sys.executable, "-m", "sweep_sidecar", "store", "merge", run.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        said = command.stderr.read()
        assert command.wait(60) == 141
    assert "Traceback" not in said


def test_every_command_and_option_is_described() -> None:
    commands = program.parser_of_command()._subparsers
    assert commands is not None
    (choices,) = [action.choices for action in commands._group_actions]
    assert choices is not None
    names = re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE)
    assert names == list(choices)
    for name, parser in dict(choices).items():
        section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        assert options - {"--help", "--json"} == set(re.findall(r"--[a-z][a-z-]*", section)) - {"--json"}


def test_every_exit_code_is_described() -> None:
    codes = {0, program.FOUND, program.PIPE_CLOSED, *(int(code) for _, code in program._ENDINGS)}
    # Nothing here creates what another writer could have created: only a merge in the cluster meets 85.
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == codes - {85}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h0m"), (90061, "1d1h"), (86400 * 400, "400d0h")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_times_and_sizes_can_be_read() -> None:
    assert time_text(0) == "1970-01-01 00:00:00Z"
    assert time_text(1e300) == "1e+300"
    assert (size_text(999), size_text(1000), size_text(10**16)) == ("999 B", "1.0 kB", "10.0 PB")


def test_json_and_table_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path, shards=2)
    run.attempt(0, [{"results.jsonl": HEADER + done("a", 1)}])
    assert run.command("ls", run.top) == 0
    table = capsys.readouterr().out.splitlines()
    assert run.command("ls", run.top, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert table[1].split()[:3] == [found["url"], f"{found['complete']}/{found['shards']}", str(found["items_done"])]
