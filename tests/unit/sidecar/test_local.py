from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_sidecar.store import Creation, NotFound, Store, Unreachable
from sweep_sidecar.store.local import LocalStore
from unit.sidecar.store_across_processes import StoreAcrossProcesses
from unit.sidecar.store_conformance import StoreConformance

_CREATE_FOR_EVER = """
import sys, itertools
from pathlib import Path
from sweep_sidecar.store.local import LocalStore
store = LocalStore(Path(sys.argv[1]))
for number in itertools.count():
    store.create(f"log/{number:06d}", bytes([number % 256]) * 300_000)
    print(number, flush=True)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


@pytest.fixture
def store(root: Path) -> Store:
    return LocalStore(root)


@pytest.fixture
def again(root: Path) -> Callable[[], Store]:
    return lambda: LocalStore(root)


@pytest.fixture
def url(root: Path) -> str:
    return f"file://{root}"


class TestLocalStore(StoreConformance, StoreAcrossProcesses):
    pass


def test_a_process_killed_in_mid_write_leaves_whole_objects_and_free_slots(root: Path) -> None:
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", _CREATE_FOR_EVER, str(root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.02)  # anywhere in the middle of its work will do
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        store = LocalStore(root)
        found = store.list("log/")
        assert found
        for number, entry in enumerate(found):
            assert entry.key == f"log/{number:06d}"
            assert store.get(entry.key) == bytes([number % 256]) * 300_000
        assert store.create(f"log/{len(found):06d}", bytes([len(found) % 256]) * 300_000) is Creation.CREATED


def test_a_file_left_by_a_killed_process_is_in_no_listing(root: Path) -> None:
    store = LocalStore(root)
    store.create("log/1", b"x")
    (root / "log" / ".creating-abc").write_bytes(b"half")
    assert [found.key for found in store.list("log/")] == ["log/1"]


def test_a_key_cannot_leave_the_folder(root: Path) -> None:
    store = LocalStore(root)
    for key in ("../outside", "/etc/passwd", "a/../../b"):
        with pytest.raises(ValueError, match="stay inside"):
            store.get(key)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_not_taken_for_absent(root: Path) -> None:
    store = LocalStore(root)
    store.create("log/1", b"x")
    (root / "log" / "1").chmod(0)
    with pytest.raises(Unreachable):
        store.get("log/1")


def test_what_cannot_be_read_is_not_taken_for_absent(root: Path) -> None:
    store = LocalStore(root)
    (root / "log" / "folder").mkdir(parents=True)
    (root / "file").write_text("x")
    for key in ("log/folder", "file/below"):
        with pytest.raises(Unreachable):
            store.get(key)
    with pytest.raises(Unreachable):
        store.list("file/")
    with pytest.raises(Unreachable):
        store.create("file/below", b"x")
    with pytest.raises(NotFound):
        store.get("log/nothing")
