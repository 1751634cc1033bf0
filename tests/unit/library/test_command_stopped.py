from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._command import children
from resumable_sweep.contract.log_format import line_of
from unit.library.commanded import Command, python, results, with_program

PROGRAM = """
import os

def square(item):
    return {"x2": item["x"] ** 2}

def picky(item):
    if item["x"] == 1:
        raise ValueError("one is bad")
    return os.getpid()

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


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "resumable_sweep", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for process in found:
        if process.poll() is None:
            process.kill()
        process.communicate()


def is_running(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


SLEEPER = """
import os, signal, subprocess, sys, time
if sys.argv[2] == "saves":
    def save(*_):
        print('"saved"', flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, save)
elif sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
name = f"pids-{sys.argv[1]}"
with open(name + ".tmp", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(name + ".tmp", name)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["dies", "saves", "deaf"])
def test_a_stop_reaches_the_command_and_all_it_started(
    how: str, folder: Path, command: Command, ended: list[subprocess.Popen[str]]
) -> None:
    (folder / "sleeper.py").write_text(SLEEPER)
    words = ["run", "--matrix", "x=0..3", "--checkpoint", "log.jsonl", "--workers", "2"]
    words += ["--grace", "1" if how == "deaf" else "60", "--", sys.executable, "sleeper.py", "{item.x}", how]
    process = started(words)
    ended.append(process)
    wait_until(lambda: len(list(folder.glob("pids-?"))) == 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 143, err
    pids = [int(pid) for file in folder.glob("pids-?") for pid in file.read_text().split()]
    assert len(pids) == 4
    wait_until(lambda: not any(map(is_running, pids)))
    said = command("show", "log.jsonl", "--json").json["states"]
    done = 2 if how == "saves" else 0
    # What ended because it was told to has not failed: it runs again, and no try is lost.
    assert (said["done"], said["in progress"], said["failed"]) == (done, 2 - done, 0)
    assert results(command) == ["saved"] * done


def test_a_killed_run_goes_on(folder: Path, command: Command, ended: list[subprocess.Popen[str]]) -> None:
    text = "import os, sys, time; x = sys.argv[1]; print(x); sys.stdout.flush()\n"
    text += "if x == '2' and not os.path.exists('go'): open('here', 'w'); time.sleep(600)"
    words = ["run", "--matrix", "x=0..3", "--checkpoint", "log.jsonl", *python(text), "{item.x}"]
    process = started(words)
    ended.append(process)
    wait_until((folder / "here").exists)
    process.kill()
    process.communicate()
    (folder / "go").touch()
    said = command(*words[:5], "--json", *words[5:])
    assert (said.json["replayed"], said.json["recorded"]) == (2, 2)
    assert results(command) == [0, 1, 2, 3]


def test_nothing_is_started_once_all_is_killed() -> None:
    found = children.Children(["true"], key_of=str, seed_of=lambda _: 0, stop=lambda: None)
    found.kill()
    with pytest.raises(SystemExit):
        found.run({"x": 1})


def test_workers_may_be_threads_or_processes(folder: Path) -> None:
    # In a process of its own: a worker process imports the program that started it.
    for mode in ("threads", "processes"):
        words = ["run", "work.py:picky", "--matrix", "x=0,2,3", "--checkpoint", f"{mode}.jsonl", "--workers", "2"]
        done = started([*words, "--mode", mode, "--json"])
        out, err = done.communicate(timeout=DEADLINE)
        assert done.returncode == 0, err
        assert json.loads(out)["completed"] == 3
        with ResumableSweep([{"x": x} for x in (0, 2, 3)], checkpoint_path=f"{mode}.jsonl", script=False) as sweep:
            assert (done.pid in sweep.completed) == (mode == "threads")


def test_warnings_are_sentences(folder: Path) -> None:
    with ResumableSweep([{"x": 0}], checkpoint_path="log.jsonl", script=False) as sweep:
        for item in sweep.pending:
            sweep.record(item, 1)
    Path("log.jsonl").write_bytes(Path("log.jsonl").read_bytes().replace(b'"result":1', b'"result":2'))
    process = started(["run", "work.py:square", "--matrix", "x=0", "--checkpoint", "log.jsonl"])
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert err.startswith("resumable-sweep: ")
    assert f"kept as {folder / 'log.jsonl'}.corrupt-1" in err
    assert "CheckpointFellBack" not in err
    assert out.startswith("1 of 1 items are done")


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    header = line_of({"kind": "header", "schema_version": 2})
    done = line_of({"kind": "done", "key": 1, "result": "more than goes into a pipe" * 10_000})
    Path("log.jsonl").write_bytes(header + done)
    process = started(["export", "log.jsonl", "--partial"])
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(DEADLINE) == 141
