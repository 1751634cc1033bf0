"""The log where the disk fails it at an inconvenient moment."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._ledger import Ledger, State
from resumable_sweep._log import ResultLog
from resumable_sweep.contract.log_format import entries_of, line_of

HEADER: dict[str, Any] = {"run_id": None, "shard": 0, "shards": 1, "created": 1.0}
LINES = [line_of({"kind": "done", "key": key, "result": key * 3}) for key in range(4)]


def opened(path: Path) -> tuple[ResultLog, Ledger]:
    ledger = Ledger()
    return ResultLog.opened(path, dict(HEADER), note=ledger.note, forget=ledger.forget), ledger


def keys(path: Path) -> list[Any]:
    return [entry["key"] for entry in entries_of(path.read_bytes()) if entry["kind"] == "done"]


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Callable[..., Any]], Any]], None]:
    """Function that has the next fsync be another: `strike(instead)` calls `instead(fsync)` in its place, once."""

    def strike(instead: Callable[[Callable[[], None]], None]) -> None:
        fsync, struck = os.fsync, False

        def patched(file: int) -> None:
            nonlocal struck
            if struck:
                fsync(file)
                return
            struck = True
            instead(lambda: fsync(file))

        monkeypatch.setattr(os, "fsync", patched)

    return strike


def refused(fsync: Callable[[], None]) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_one_thread_has_on_disk_stays_when_the_sync_of_another_fails(
    tmp_path: Path, strike: Callable[..., None]
) -> None:
    log, _ = opened(tmp_path / "log")

    def meanwhile(fsync: Callable[[], None]) -> None:
        fsync()
        log.append(LINES[1:2], sync=False)  # what another thread does before it waits for the disk itself

    strike(meanwhile)
    log.append(LINES[:1])
    strike(refused)
    with pytest.raises(OSError, match="nothing was added to the log"):
        log.append(LINES[2:3])
    assert keys(tmp_path / "log") == [0]
    log.append(LINES[3:])
    log.write_manifest()
    log.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log, ledger = opened(tmp_path / "log")
    log.close()
    assert [name for name, one in ledger.strays.items() if one.state is State.DONE] == ["0", "3"]
    assert log.salvaged is None


def test_threads_that_are_never_all_done_do_not_pile_up_what_is_on_disk(
    tmp_path: Path, strike: Callable[..., None]
) -> None:
    log, _ = opened(tmp_path / "log")
    for number in range(100):

        def meanwhile(fsync: Callable[[], None], number: int = number) -> None:
            fsync()
            log.append([line_of({"kind": "done", "key": number, "result": None})], sync=False)

        strike(meanwhile)
        log.append(LINES[:1])
    assert sum(map(len, log._unsynced)) < 1000
    log.close()


def test_an_error_of_the_disk_on_entering_names_the_log(tmp_path: Path, strike: Callable[..., None]) -> None:
    log, _ = opened(tmp_path / "log")
    log.append(LINES)
    log.close()
    torn = (tmp_path / "log").read_bytes()[:-10]
    (tmp_path / "log").write_bytes(torn)
    strike(refused)
    with pytest.raises(OSError, match="Input/output error") as caught:
        opened(tmp_path / "log")
    assert caught.value.filename == str(tmp_path / "log")
    log, ledger = opened(tmp_path / "log")
    log.close()
    assert [name for name, one in ledger.strays.items() if one.state is State.DONE] == ["0", "1", "2"]


def test_a_line_of_old_that_has_changed_is_not_believed_in_a_log_that_went_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    old = [
        b'{"kind":"header","schema_version":1,"run_id":null}',
        *(b'{"kind":"done","key":%d,"result":7}' % key for key in (8, 9)),
    ]
    path.write_bytes(b"".join(line + b"\n" for line in old))
    log, _ = opened(path)
    log.append(LINES[:2])
    log.write_manifest()
    log.append(LINES[2:])
    log.close()
    path.write_bytes(path.read_bytes().replace(b'"key":8,"result":7', b'"key":8,"result":6'))

    log, ledger = opened(path)
    log.close()
    assert [name for name, one in ledger.strays.items() if one.state is State.DONE] == ["0", "1", "2", "3"]
    assert log.salvaged is not None
    assert b'"result":6' in log.salvaged.kept_as.read_bytes()
    assert keys(path) == [0, 1, 2, 3]
