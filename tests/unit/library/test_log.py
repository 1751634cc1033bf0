from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._file_lock import LogLocked
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._log import ResultLog
from resumable_sweep.contract.log_format import LogInvalid, entries_of, line_of
from resumable_sweep.contract.manifest import Manifest, manifest_path, parsed_manifest

HEADER: dict[str, Any] = {"run_id": None, "shard": 0, "shards": 1, "created": 1.0}
LINES = [line_of({"kind": "done", "key": key, "result": key * 3}) for key in range(4)]


@contextmanager
def opened(path: Path, **header: Any) -> Iterator[tuple[ResultLog, list[int]]]:
    """Open the log; yield it and the keys of the results that were in it."""
    ledger = Ledger()
    log = ResultLog.opened(path, {**HEADER, **header}, note=ledger.note, forget=ledger.forget)
    try:
        yield log, [int(name) for name, one in ledger.strays.items() if one.state is State.DONE]
    finally:
        log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "results.jsonl"


def keys(path: Path) -> list[Any]:
    return [entry["key"] for entry in entries_of(path.read_bytes()) if entry["kind"] == "done"]


def test_a_new_log_starts_with_its_header(path: Path) -> None:
    with opened(path, run_id="r") as (log, _):
        assert not log.was_there
    assert list(entries_of(path.read_bytes())) == [{"kind": "header", **HEADER, "run_id": "r", "schema_version": 2}]


def test_what_was_appended_is_there_when_it_is_opened_again(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
        log.append(LINES[1:3])
    with opened(path) as (log, found):
        assert found == [0, 1, 2]
        log.append(LINES[3:])
    assert keys(path) == [0, 1, 2, 3]
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
        # Also the first folder that was there: who made it may not have come so far.
        assert synced == [path.parents[3], path.parents[2], path.parents[1], path.parents[0]]


@pytest.mark.parametrize("length", range(len(LINES[1])))
def test_a_torn_last_line_costs_only_itself(path: Path, length: int) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
    with path.open("ab") as file:
        file.write(LINES[1][:length])
    with opened(path) as (log, found):
        assert found == [0]
        assert log.salvaged is None
        log.append(LINES[2:3])
    assert keys(path) == [0, 2]


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
        with opened(path) as (log, found):
            assert found == []
            log.append(LINES[:1])
        assert keys(path) == [0]


@pytest.mark.parametrize(
    "content", [b"my only copy", b"a,b\n1,2\n", b'{"kind":"done","key":1,"result":1}\n', b'{"kind":"x', LINES[0]]
)
def test_a_file_that_is_no_log_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(LogInvalid, match="is not a sweep's log"), opened(path):
        pass
    assert path.read_bytes() == content


def test_a_file_of_zeros_is_a_log_whose_bytes_never_came_to_the_disk(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0" * 4096)
    with opened(path) as (log, found):
        assert found == []
        log.append(LINES[:1])
    assert keys(path) == [0]


def test_a_damaged_line_costs_only_itself_and_the_file_is_kept(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES)
    damaged = path.read_bytes().replace(b'"result":3', b'"result":7')
    path.write_bytes(damaged)
    with opened(path) as (log, found):
        assert found == [0, 2, 3]
        assert log.salvaged is not None
        assert log.salvaged.kept_as.read_bytes() == damaged
        assert "line 3 does not fit its checksum" in log.salvaged.reason
        with pytest.raises(LogLocked), opened(path):
            pass
        log.append(LINES[1:2])
    with opened(path) as (log, found):
        assert found == [0, 2, 3, 1]
        assert log.salvaged is None


@pytest.mark.parametrize("place", [0, 5, 20, 40, 100])
@pytest.mark.parametrize("manifest", [True, False])
def test_a_lost_header_is_taken_from_the_manifest_or_nobody_knows_whose_results_these_are(
    path: Path, place: int, manifest: bool
) -> None:
    with opened(path, run_id="r") as (log, _):
        log.append(LINES)
        log.write_manifest()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    if not manifest:
        manifest_path(path).unlink()
    with opened(path, run_id="r") as (log, found):
        assert found == ([0, 1, 2, 3] if manifest else [])
        assert log.salvaged is not None
        assert log.salvaged.kept_as.read_bytes() == data
        assert log.scan.header["run_id"] == "r"


def test_a_log_that_lost_its_end_is_noticed(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES)
        log.write_manifest()
    path.write_bytes(path.read_bytes().removesuffix(LINES[3]))
    with opened(path) as (log, found):
        assert found == [0, 1, 2]
        assert log.missing_bytes == len(LINES[3])


V1 = b'{"kind":"header","schema_version":1,"run_id":"r","shard":0,"shards":1,"created":1.0}\n'
V1_LINES = [b'{"kind":"done","key":%d,"result":%d}\n' % (key, key) for key in range(3)]


def test_a_log_of_the_version_before_is_gone_on_with(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(V1 + b"".join(V1_LINES))
    with opened(path, run_id="r") as (log, found):
        assert found == [0, 1, 2]
        log.append(LINES[3:])
    data = path.read_bytes()
    assert data.startswith(V1 + b"".join(V1_LINES))
    assert [entry["schema_version"] for entry in entries_of(data) if entry["kind"] == "header"] == [1, 2]
    with opened(path, run_id="r") as (_, found):
        assert found == [0, 1, 2, 3]
    assert path.read_bytes() == data


def test_without_checksums_the_manifest_alone_can_tell_and_then_all_runs_again(path: Path) -> None:
    path.parent.mkdir(parents=True)
    content = V1 + b"".join(V1_LINES)
    manifest_path(path).write_text(
        Manifest(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)).to_json()
    )
    path.write_bytes(content.replace(b'"result":1', b'"result":8'))
    with opened(path) as (log, found):
        assert found == []
        assert log.salvaged is not None
        assert "does not fit its manifest" in log.salvaged.reason


def test_a_line_that_lost_its_checksum_is_damaged(path: Path) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
    with path.open("ab") as file:
        file.write(V1_LINES[1])
    with opened(path) as (log, found):
        assert found == [0]
        assert log.salvaged is not None


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
    assert keys(path) == [0, 3]
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


def test_what_the_disk_may_have_lost_is_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:1])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _fail)
            with pytest.raises(OSError, match="nothing was added to the log"):
                log.append(LINES[1:2])
        assert keys(path) == [0]
        log.append(LINES[2:3])
        log.write_manifest()
    assert keys(path) == [0, 2]
    assert parsed_manifest(manifest_path(path).read_text()).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_promised_is_written_anew_after_an_error_of_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path) as (log, _):
        log.append(LINES[:2], sync=False, promised=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _fail)
            with pytest.raises(OSError, match="may not be on disk yet"):
                log.sync()
        end = log.end
        written: list[tuple[int, int]] = []
        pwrite = os.pwrite

        def noting(file: int, data: bytes, offset: int) -> int:
            written.append((offset, len(data)))
            return pwrite(file, data, offset)

        monkeypatch.setattr(os, "pwrite", noting)
        log.sync()
        assert written == [(end - len(b"".join(LINES[:2])), len(b"".join(LINES[:2])))]
    assert keys(path) == [0, 1]


def test_threads_that_wait_for_the_disk_share_a_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls, first = os.fsync, [], threading.Event()
    enough = threading.Event()

    def slow(file: int) -> None:
        calls.append(file)
        first.set()
        assert enough.wait(20)
        fsync(file)

    with opened(path) as (log, _), ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(os, "fsync", slow)
        waiting = [pool.submit(log.append, LINES[:1])]
        assert first.wait(20)
        before = log.end
        waiting += [pool.submit(log.append, [line]) for line in LINES[1:]]
        while log.end < before + sum(map(len, LINES[1:])):
            time.sleep(0.001)
        enough.set()
        for one in waiting:
            one.result()
        assert len(calls) == 2
    assert sorted(keys(path)) == [0, 1, 2, 3]


def test_lines_are_read_in_any_order_while_others_come(path: Path) -> None:
    with opened(path) as (log, _):
        starts = [log.append([line]) for line in LINES]
        places = [(starts[at], len(LINES[at]) - 1) for at in (2, 0, 1, 3, 3)]
        lines = log.read_each(places)
        assert next(lines) == LINES[2][:-1]
        log.append([b"x" * 10])
        assert list(lines) == [LINES[at][:-1] for at in (0, 1, 3, 3)]


def test_lines_that_follow_on_one_another_are_read_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, pread = [], os.pread
    many = [line_of({"kind": "done", "key": key, "result": "y" * 100}) for key in range(3000)]
    with opened(path) as (log, _):
        start = log.append(many)
        places = [(start + sum(map(len, many[:at])), len(line) - 1) for at, line in enumerate(many)]
        monkeypatch.setattr(os, "pread", lambda *given: (calls.append(given), pread(*given))[1])
        assert list(log.read_each(places)) == [line[:-1] for line in many]
        assert len(calls) < 5
        assert list(log.read_each(reversed(places))) == [line[:-1] for line in reversed(many)]


def test_what_was_read_ahead_is_read_again_where_the_disk_took_it_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path) as (log, _):
        first = log.append(LINES[:1])
        gone = log.append(LINES[1:2], sync=False)
        lines = log.read_each([(first, len(LINES[0]) - 1), (gone, len(LINES[2]) - 1)])
        assert next(lines) == LINES[0][:-1]
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", _fail)
            with pytest.raises(OSError, match="nothing was added"):
                log.sync()
        assert log.append(LINES[2:3]) == gone
        assert list(lines) == [LINES[2][:-1]]


def test_a_thread_that_is_late_writes_into_no_file_that_has_the_number_of_the_closed_log(path: Path) -> None:
    with opened(path) as (log, _):
        pass
    with path.with_name("other").open("w+b") as other:
        before = path.read_bytes()
        with pytest.raises(OSError, match="Bad file descriptor"):
            log.append(LINES[:1])
        other.seek(0)
        assert other.read() == b""
    assert path.read_bytes() == before


def _fail(file: int) -> None:
    raise OSError(errno.EIO, "Input/output error")
