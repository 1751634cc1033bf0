from __future__ import annotations

import hashlib
import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._log import LogLocked, ResultLog, encoded, read_entries
from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest

HEADER: dict[str, Any] = {"run_id": None, "shard": 0, "shards": 1, "created": 1.0}
LINES = [encoded({"kind": "done", "key": key, "result": key * 3}) for key in range(4)]


@contextmanager
def opened(path: Path, **header: Any) -> Iterator[tuple[ResultLog, list[dict[str, Any]]]]:
    log, entries = ResultLog.opened(path, {**HEADER, **header})
    try:
        yield log, entries
    finally:
        log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "results.jsonl"


def keys(entries: list[dict[str, Any]]) -> list[Any]:
    return [entry["key"] for entry in entries if entry["kind"] == "done"]


def test_a_new_log_starts_with_its_header(path: Path) -> None:
    with opened(path, run_id="r") as (_, entries):
        assert entries == [{"kind": "header", "schema_version": 1, **HEADER, "run_id": "r"}]
    assert [json.loads(line) for line in path.read_text().splitlines()] == entries


def test_what_was_appended_is_there_when_it_is_opened_again(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
        log.append(LINES[1:3])
    with opened(path) as (log, entries):
        assert keys(entries) == [0, 1, 2]
        log.append(LINES[3:])
    assert keys(read_entries(path, None)) == [0, 1, 2, 3]
    assert path.read_text().count("header") == 1


def test_it_is_on_disk_before_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    with opened(path) as (log, _):
        pwrite, fsync = os.pwrite, os.fsync
        monkeypatch.setattr(os, "pwrite", lambda *given: (calls.append("write"), pwrite(*given))[1])
        monkeypatch.setattr(os, "fsync", lambda *given: (calls.append("sync"), fsync(*given))[1])
        log.append(LINES[:2])
        assert calls == ["write", "sync"]


def test_the_names_of_new_folders_and_of_the_log_are_made_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def noting(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            synced.append(Path(f"/proc/self/fd/{file}").readlink())
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    with opened(path):
        assert synced == [path.parents[2], path.parents[1], path.parents[0]]


@pytest.mark.parametrize("length", range(len(LINES[1])))
def test_a_torn_last_line_costs_only_itself(path: Path, length: int) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
    with path.open("ab") as file:
        file.write(LINES[1][:length])
    with opened(path) as (log, entries):
        assert keys(entries) == [0]
        log.append(LINES[2:3])
    assert keys(read_entries(path, None)) == [0, 2]


def test_a_long_torn_line_is_gone_once_the_log_is_open(path: Path) -> None:
    with opened(path):
        whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"done","key":"big","result":"' + b"x" * 5000)
    with opened(path):
        assert path.read_bytes() == whole


def test_a_torn_header_is_written_anew(path: Path) -> None:
    with opened(path):
        pass
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with opened(path) as (log, entries):
            assert [entry["kind"] for entry in entries] == ["header"]
            log.append(LINES[:1])
        assert keys(read_entries(path, None)) == [0]


@pytest.mark.parametrize(
    "content", [b"my only copy", b"a,b\n1,2\n", b'{"kind":"done","key":1,"result":1}\n', b'{"kind":"x', b"\0" * 40]
)
def test_a_file_that_is_no_log_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(LogInvalid, match="is not a sweep's log"), opened(path):
        pass
    assert path.read_bytes() == content


def test_damage_in_the_middle_is_named_by_file_and_line_and_left_alone(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES)
    data = path.read_bytes()
    damaged = data.replace(LINES[1], b"x" * (len(LINES[1]) - 1) + b"\n")
    path.write_bytes(damaged)
    with pytest.raises(LogInvalid, match=r"results\.jsonl: line 3 is not JSON"), opened(path):
        pass
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("theirs", "mine", "refused"), [("a", "b", True), ("a", "a", False), (None, "b", False), ("a", None, False)]
)
def test_a_log_of_another_run_is_refused(path: Path, theirs: str | None, mine: str | None, refused: bool) -> None:
    with opened(path, run_id=theirs):
        pass
    if refused:
        with (
            pytest.raises(LogInvalid, match="holds the results of run a, but this is run b"),
            opened(path, run_id=mine),
        ):
            pass
    else:
        with opened(path, run_id=mine):
            pass


def test_one_writer_at_a_time(path: Path) -> None:
    with opened(path):
        with pytest.raises(LogLocked, match="is being written by another process"), opened(path):
            pass
    with opened(path):
        pass


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let the kernel cut writes off at `size`, as a full disk does: first a short write, then an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_log_as_it_was(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
        before = path.read_bytes()
        with (
            files_no_longer_than(len(before) + 5),
            pytest.raises(OSError, match="nothing was added to the log") as caught,
        ):
            log.append(LINES[1:3])
        assert caught.value.filename == str(path)
        assert path.read_bytes() == before
        log.append(LINES[3:])
        log.write_manifest()
    assert keys(read_entries(path, None)) == [0, 3]
    assert parsed_manifest(manifest_path(path).read_text()).size_bytes == path.stat().st_size


def test_an_interrupt_in_the_middle_of_a_write_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as (log, _):
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            pwrite = os.pwrite

            def interrupted(file: int, data: bytes, offset: int) -> int:
                pwrite(file, data[:4], offset)
                raise KeyboardInterrupt

            patch.setattr(os, "pwrite", interrupted)
            with pytest.raises(KeyboardInterrupt):
                log.append(LINES[:1])
        assert path.read_bytes() == before


def test_the_manifest_vouches_for_the_log_as_it_was_then(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:2])
        log.write_manifest()
        log.append(LINES[2:])
    manifest = parsed_manifest(manifest_path(path).read_text())
    start = path.read_bytes()[: manifest.size_bytes]
    assert start.endswith(LINES[1])
    assert manifest.sha256 == hashlib.sha256(start).hexdigest()

    with opened(path) as (log, _):
        log.write_manifest()
    manifest = parsed_manifest(manifest_path(path).read_text())
    assert (manifest.sha256, manifest.size_bytes) == (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        path.stat().st_size,
    )
    assert sorted(file.name for file in path.parent.iterdir()) == ["results.jsonl", "results.jsonl.manifest.json"]


def test_a_manifest_that_cannot_be_written_leaves_the_one_before(path: Path) -> None:
    with opened(path) as (log, _):
        log.write_manifest()
        before = manifest_path(path).read_bytes()
        log.append(LINES)
        with files_no_longer_than(10), pytest.raises(OSError):
            log.write_manifest()
        assert manifest_path(path).read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["results.jsonl", "results.jsonl.manifest.json"]
