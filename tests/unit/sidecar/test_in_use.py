from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from sweep_sidecar.capture.steady import Measured, measure
from unit.sidecar.captured_shard import Shard

HDF5 = b"\x89HDF\r\n\x1a\n"

TRANSFERS = """
import random, sqlite3, sys, time
drawn = random.Random(5)
accounts = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
accounts.execute(f"PRAGMA journal_mode={sys.argv[2]}")
accounts.execute("PRAGMA cache_size=2")
accounts.execute("PRAGMA synchronous=OFF")
accounts.execute("CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, amount INTEGER, pad TEXT)")
if not accounts.execute("SELECT count(*) FROM account").fetchone()[0]:
    accounts.execute("BEGIN IMMEDIATE")
    accounts.executemany("INSERT INTO account VALUES (?, 100, ?)", [(number, "x" * 700) for number in range(60)])
    accounts.execute("COMMIT")
while True:
    accounts.execute("BEGIN IMMEDIATE")
    for number in range(60):
        amount = drawn.randrange(9)
        accounts.execute("UPDATE account SET amount = amount - ?, pad = ? WHERE id = ?", (amount, "y" * 700, number))
        accounts.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, (number * 7 + 1) % 60))
    accounts.execute(drawn.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
    if drawn.random() < 0.5:
        time.sleep(drawn.random() * 0.2)
"""


@contextmanager
def transferring(database: Path, mode: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", TRANSFERS, str(database), mode], stderr=subprocess.PIPE)
    try:
        yield
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
    finally:
        process.kill()
        process.communicate()


def check_database(files: dict[str, bytes], folder: Path) -> int:
    """Restore a copy of the database and return how many accounts there are; a broken one fails the test."""
    folder.mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    with closing(sqlite3.connect(folder / "accounts.db")) as accounts:
        assert accounts.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not accounts.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return 0
        number, total = accounts.execute("SELECT count(*), coalesce(sum(amount), 0) FROM account").fetchone()
        assert total == 100 * number
        return int(number)


@pytest.mark.parametrize("mode", ["DELETE", "WAL", "PERSIST"])
def test_a_copy_of_a_database_that_is_written_to_is_a_state_between_transactions(tmp_path: Path, mode: str) -> None:
    shard = Shard(tmp_path / "snapshot", clock_ns=time.time_ns)
    copies = 0
    before: dict[str, bytes] = {}
    with transferring(shard.root / "accounts.db", mode):
        until = time.monotonic() + 20
        while copies < 4 and time.monotonic() < until:
            look = shard.capturer.look()
            if look.is_torn or not look.files:
                continue
            shard.publish(look)
            files = shard.stored()
            if files != before and check_database(files, tmp_path / f"copy-{time.monotonic_ns()}"):
                copies += 1
            before = files
    assert copies == 4
    # Killed in the middle of a transaction, perhaps: SQLite rolls that back when it is opened again.
    shard.publish(shard.capturer.look(last=True))
    assert check_database(shard.stored(), tmp_path / "last") == 60
    assert "accounts.db-shm" not in shard.stored()


def test_a_locked_database_is_left_as_it_was(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "snapshot")
    with closing(sqlite3.connect(shard.root / "locked.db")) as database:
        database.execute("CREATE TABLE one (x)")
    held = "import sqlite3,sys; d=sqlite3.connect(sys.argv[1], isolation_level=None);" + (
        "d.execute('PRAGMA journal_mode=MEMORY'); d.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(shard.root / "locked.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        looks = [shard.capturer.look() for _ in range(5)]
        process.kill()
    assert all(look.files == {} for look in looks)
    problem = looks[-1].unsettled
    assert problem is not None
    assert problem.reason == "CheckpointInUse"
    assert "locked.db is an SQLite database that a connection has locked for writing" in problem.message
    assert set(shard.capturer.look().files) == {"locked.db"}


def test_a_transaction_that_ends_while_its_database_is_read_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = Shard(tmp_path / "snapshot")
    journal = shard.root / "x.db-journal"
    shard.write("x.db", b"SQLite format 3\0" + b"pages")
    shard.write(journal.name, b"journal")

    def measured(file: BinaryIO, status: os.stat_result | None = None) -> Measured:
        found = measure(file, status)
        if found.size == len(b"journal"):
            journal.unlink()
        return found

    monkeypatch.setattr("sweep_sidecar.capture.taking.measure", measured)
    look = shard.capturer.look()
    assert look.refusal is None
    assert set(look.files) == {"x.db"}


def hdf5(*, version: int, flags: int = 0) -> bytes:
    return HDF5 + bytes([version, 8, 8, flags]) + b"rest"


def test_an_hdf5_file_that_says_it_is_open_is_left_out(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "snapshot")
    shard.write("x.h5", hdf5(version=3, flags=1))
    assert shard.capturer.look().files == {}
    problem = shard.capturer.look(last=True).unsettled
    assert problem is not None
    assert problem.reason == "CheckpointInUse"
    assert "x.h5 is an HDF5 file that is open for writing, or was not closed" in problem.message
    shard.write("x.h5", hdf5(version=3))
    assert set(shard.capturer.look().files) == {"x.h5"}


def test_an_hdf5_file_that_cannot_say_whether_it_is_open_is_taken_once_at_rest(tmp_path: Path) -> None:
    now_ns = [time.time_ns() + 9_000_000_000]
    shard = Shard(tmp_path / "snapshot", clock_ns=lambda: now_ns[0])
    shard.write("x.h5", hdf5(version=0))
    shard.write("y.h5", hdf5(version=0))
    shard.write_pair("z.h5", hdf5(version=0))
    assert set(shard.capturer.look().files) == {"z.h5", "z.h5.manifest.json"}
    assert "x.h5" in shard.capturer.look(last=True).files
    shard.capturer = shard.new_capturer()
    now_ns[0] += 2_000_000_000
    assert set(shard.capturer.look().files) == {"x.h5", "y.h5", "z.h5", "z.h5.manifest.json"}


def test_what_only_is_named_like_a_database_is_a_file(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "snapshot")
    for path in ("great", "great-wal", "lonely-journal"):
        shard.write(path, b"text")
    assert set(shard.capturer.look().files) == {"great", "great-wal", "lonely-journal"}
    (shard.root / "great").unlink()
    assert set(shard.capturer.look().files) == {"great-wal", "lonely-journal"}
