from __future__ import annotations

import hashlib
import os
import shutil
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._side_files import FILE_TAG, SideFile, SideFileDamaged, SideFiles, side_file_of, side_files_in

DATA = bytes(range(256)) * 500
NAME = hashlib.sha256(DATA).hexdigest()
TAG = SideFile(f"r.jsonl.files/{NAME}.bin", NAME, len(DATA), "bytes")
CHANGING = ("open", "pwrite", "fsync", "replace", "unlink", "mkdir")


@pytest.fixture
def files(tmp_path: Path) -> SideFiles:
    return SideFiles(tmp_path / "new" / "r.jsonl")


class Killed(BaseException):
    """Stands for the end of the process: from the call on that it comes at, nothing is done any more."""


class Mortal:
    """`os` whose process is killed at the changing call number `left`; `calls` are those that came before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: float = float("inf")) -> None:
        self.left = left
        self.calls: list[tuple[str, str]] = []
        for name in CHANGING:
            monkeypatch.setattr(os, name, self.counting(name, getattr(os, name)))

    def counting(self, name: str, function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            if self.left <= 0:
                raise Killed
            self.left -= 1
            path = Path(f"/proc/self/fd/{given[0]}").readlink() if isinstance(given[0], int) else Path(given[0])
            self.calls.append((name, path.name.rpartition(".tmp.")[0] or path.name))
            return function(*given, **named)

        return call


@pytest.mark.parametrize("kind", ["array", "bytes", "json"])
@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_what_is_kept_is_fetched(files: SideFiles, data: bytes, kind: str) -> None:
    kept = files.keep(data, kind)
    assert kept == SideFile(kept.path, hashlib.sha256(data).hexdigest(), len(data), kind)
    assert (files.folder.parent / kept.path).read_bytes() == data
    assert files.fetch(kept) == data
    assert files.verify(kept) is None


def test_pieces_are_kept_as_one(files: SideFiles) -> None:
    assert files.keep([DATA[:7], bytearray(DATA[7:9]), memoryview(DATA)[9:]], "bytes") == files.keep(DATA, "bytes")


def test_what_is_large_is_held_once(files: SideFiles) -> None:
    data = memoryview(bytes(20_000_000))
    tracemalloc.start()
    try:
        kept = files.keep([b"header", data], "array")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
        assert files.verify(kept) is None
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
        files.fetch(kept)
        files.fetch(SideFile(kept.path, kept.sha256, kept.size_bytes, "bytes"))
        assert tracemalloc.get_traced_memory()[1] < len(data) + 3_000_000
    finally:
        tracemalloc.stop()


def test_file_and_name_are_on_disk_when_keep_returns(files: SideFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    mortal = Mortal(monkeypatch)
    files.keep(DATA, "bytes")
    changes = [call for call in mortal.calls if call[0] != "open"]
    assert changes == [
        ("fsync", files.folder.parents[2].name),  # who made that folder may not have come so far
        ("mkdir", "new"),
        ("fsync", files.folder.parents[1].name),
        ("mkdir", "r.jsonl.files"),
        ("fsync", "new"),
        ("pwrite", f".{NAME}.bin"),
        ("fsync", f".{NAME}.bin"),
        ("replace", f".{NAME}.bin"),
        ("fsync", "r.jsonl.files"),
    ]


def test_a_file_that_is_there_is_reused_but_made_durable(files: SideFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files.path_of(files.keep(DATA, "bytes")).stat()
    mortal = Mortal(monkeypatch)
    kept = files.keep(DATA, "bytes")
    assert [call for call in mortal.calls if call[0] != "open"] == [
        ("fsync", f"{NAME}.bin"),
        ("fsync", "r.jsonl.files"),
    ]
    assert files.path_of(kept).stat().st_ino == before.st_ino


@pytest.mark.parametrize("found", [b"", DATA[:-1], DATA[:-1] + b"!"])
def test_a_damaged_file_of_that_name_is_replaced(files: SideFiles, found: bytes) -> None:
    path = files.path_of(files.keep(DATA, "bytes"))
    path.write_bytes(found)
    assert files.fetch(files.keep(DATA, "bytes")) == DATA


@pytest.mark.parametrize("found", [None, b"damaged"])
def test_a_kill_at_any_call_leaves_no_half_file_under_its_name(
    files: SideFiles, monkeypatch: pytest.MonkeyPatch, found: bytes | None
) -> None:
    path = files.folder / f"{NAME}.bin"
    for calls in range(100):
        if found is not None:
            files.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
        with monkeypatch.context() as patch:
            Mortal(patch, calls)
            try:
                files.keep(DATA, "bytes")
                break
            except Killed:
                pass
        assert (path.read_bytes() if path.exists() else None) in (found, DATA)
        assert all(left == path or left.name.startswith(".") for left in files.orphans(set()))
        assert path not in files.orphans({TAG.path})
        assert files.fetch(files.keep(DATA, "bytes")) == DATA
        shutil.rmtree(files.folder.parent)
    assert calls >= 6


def test_a_full_disk_leaves_what_was_there(files: SideFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files.keep(b"first", "bytes")

    def full(*given: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left on device: the side file of a result could not be written"):
            files.keep(DATA, "bytes")
    assert files.orphans({first.path}) == []
    assert files.fetch(files.keep(DATA, "bytes")) == DATA


def test_threads_may_keep_the_same_content_at_once(files: SideFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 4
    barrier = threading.Barrier(threads)
    fsync, met = os.fsync, threading.local()

    def together(file: int) -> None:
        if not getattr(met, "once", False):  # all have opened and written before the first one goes on
            met.once = True
            barrier.wait(10)
        fsync(file)

    files.folder.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", together)
    failed: list[BaseException] = []

    def keep() -> None:
        try:
            files.keep(DATA, "bytes")
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=keep) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert files.orphans(set()) == [files.folder / f"{NAME}.bin"]
    assert files.verify(TAG) is None


@pytest.mark.parametrize("kind", ["array", "bytes"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(DATA[:-1]), f"has {len(DATA) - 1} bytes, it had {len(DATA)}"),
        (lambda path: path.write_bytes(b"!" + DATA[1:]), "holds something else than what was recorded"),
        (lambda path: (path.unlink(), path.mkdir()), "is no file"),
    ],
)
def test_damage_is_noticed(files: SideFiles, damage: Any, message: str, kind: str) -> None:
    kept = files.keep(DATA, kind)
    damage(files.path_of(kept))
    assert message in str(files.verify(kept))
    with pytest.raises(SideFileDamaged, match=message):
        files.fetch(kept)


def test_the_files_of_a_log_that_was_renamed_are_found(tmp_path: Path) -> None:
    kept = SideFiles(tmp_path / "old.jsonl").keep(DATA, "bytes")
    renamed = SideFiles(tmp_path / "new.jsonl")
    assert renamed.fetch(kept) == DATA  # where only the log was
    (tmp_path / "old.jsonl.files").rename(renamed.folder)
    assert renamed.fetch(kept) == DATA  # where its folder was, too


def test_orphans_are_what_no_record_names(files: SideFiles) -> None:
    assert files.orphans(set()) == []
    named, other = files.keep(DATA, "bytes"), files.keep(b"other", "json")
    torn = files.folder / ".x.bin.tmp.1.1"
    torn.touch()
    assert files.orphans({named.path}) == [torn, files.path_of(other)]


def test_tags_are_found_wherever_they_stand() -> None:
    others = [SideFile(f"r.jsonl.files/{digit * 64}.npy", digit * 64, 1, "array") for digit in "ab"]
    value = {"x": [1, {"y": TAG.tag()}, others[0].tag()], "z": others[1].tag(), "name": FILE_TAG}
    assert list(side_files_in(value)) == [TAG, *others]
    assert list(side_files_in(TAG.tag())) == [TAG]
    assert list(side_files_in([{"path": "x"}, 1, None])) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "../../etc/passwd"}, "path is '../../etc/passwd', it must be <log>.files/"),
        ({"path": f"/r.jsonl.files/{NAME}.bin"}, "path is"),
        ({"path": f"../r.jsonl.files/{NAME}.bin"}, "path is"),
        ({"path": f"r.jsonl.files/../{NAME}.bin"}, "path is"),
        ({"path": f"r.jsonl.files/{NAME}.npy"}, "path is"),
        ({"path": 3}, "path is 3"),
        ({"sha256": NAME.upper()}, "sha256 is"),
        ({"sha256": None}, "sha256 is None"),
        ({"size_bytes": -1}, "size_bytes is -1"),
        ({"size_bytes": True}, "size_bytes is True"),
        ({"kind": "parquet"}, "kind is 'parquet', it must be one of array, bytes, json: install a newer"),
        ({"kind": []}, r"kind is \[\]"),
        ({"more": 1}, "must have path, sha256, size_bytes and kind"),
    ],
)
def test_a_damaged_tag_is_refused(fields: dict[str, Any], message: str) -> None:
    tag = {FILE_TAG: {**TAG.tag()[FILE_TAG], **fields}}
    with pytest.raises(ValueError, match=message):
        list(side_files_in([tag]))


@pytest.mark.parametrize("fields", [None, 3, "x", []])
def test_a_tag_without_fields_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match="must have path"):
        side_file_of(fields)
