"""What stands between a process and its files sees all that it does to them, and changes nothing of it."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

from crash.every_file import EveryFile, changes
from crash.interposer import Call, KillAt, Listing
from crash.life import Life, Tell, lived
from crash.reins import Bridle, Gate, Reins, digest_of, visible_states


def seen_of(work: Any, root: Path) -> tuple[list[Call], Life]:
    """Return the calls below `root` that a forked child makes at its work."""
    calls: list[Call] = []

    def run(root: Path, tell: Tell) -> None:
        EveryFile(root, Listing(calls)).install()
        work(root, tell)
        tell("calls", calls)

    life = lived(run, root, None)
    assert life.status == 0, life
    return life.values("calls")[0], life


def test_file_objects_are_seen_and_work_as_ever(tmp_path: Path) -> None:
    def work(root: Path, tell: Tell) -> None:
        (root / "text").write_text("ä\n" * 3000)
        with (root / "text").open("ab") as file:
            file.write(b"more")
            file.flush()
            os.fsync(file.fileno())
        with (root / "text").open("r+b") as file:
            file.seek(0, os.SEEK_END)
            tell("end", file.tell())
            file.truncate(3)
        with os.fdopen(os.open(root / "by number", os.O_WRONLY | os.O_CREAT), "w") as file:
            file.write("x")
        tell("read", ((root / "text").read_bytes(), (root / "by number").read_text()))
        (Path(root).parent / "elsewhere").write_bytes(b"")

    root = tmp_path / "root"
    root.mkdir()
    calls, life = seen_of(work, root)
    assert life.values("end") == [9004]
    assert life.values("read") == [(b"\xc3\xa4\n", "x")]
    assert [call.name for call in calls if changes(call) and call.path == "text"] == [
        *["open", "write"],
        *["open", "write", "fsync"],
        *["open", "ftruncate"],
    ]
    assert [call.name for call in calls if call.path == "by number" and changes(call)] == ["open", "write"]
    assert any(call.name == "read" and call.path == "text" for call in calls)


def test_what_is_removed_by_way_of_its_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"")
    calls, _ = seen_of(lambda root, tell: shutil.rmtree(root / "a"), tmp_path)
    assert [(call.name, call.path) for call in calls if changes(call)] == [
        ("unlink", "a/b/c"),
        ("rmdir", "a/b"),
        ("rmdir", "a"),
    ]


def test_a_death_in_the_middle_of_a_file_objects_write_leaves_a_part(tmp_path: Path) -> None:
    def run(root: Path, tell: Tell) -> None:
        EveryFile(root, KillAt(1, 4)).install()
        (root / "file").write_bytes(b"0123456789")

    assert lived(run, tmp_path, None).killed
    assert (tmp_path / "file").read_bytes() == b"0123"


def test_an_experiment_on_reins_changes_nothing_that_it_was_not_let(tmp_path: Path) -> None:
    root, truth = tmp_path / "root", tmp_path / "truth"
    root.mkdir()
    bridle = Bridle.made()
    pid = os.fork()
    if pid == 0:
        try:
            gate = Gate(bridle, root, truth, random.Random(0))
            EveryFile(root, gate).install()
            for number in range(3):
                with (root / "lines").open("ab") as file:
                    file.write(f"{number}\n".encode())
            gate.run_out()
        finally:
            os._exit(70)
    reins = Reins(bridle)
    states = []
    while not reins.ended:
        states.append((root / "lines").read_bytes() if (root / "lines").exists() else None)
        reins.advance()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    bridle.close()
    assert states[0] is None
    assert {digest_of(state) for state in states[1:] if state is not None} <= visible_states(truth)["lines"]
    assert len(set(states)) > 3
    assert (root / "lines").read_bytes() == b"0\n1\n2\n"
