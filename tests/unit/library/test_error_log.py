from __future__ import annotations

import os
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import _error_log
from resumable_sweep._error_log import (
    FILE_LIMIT_BYTES,
    TRACEBACK_LIMIT_BYTES,
    ErrorLog,
    ErrorLogWarning,
    entry_text,
    error_log_path,
)

FAILURE: dict[str, Any] = {
    "key": '{"lr":0.1}',
    "attempt": 2,
    "error": "ValueError: no",
    "traceback": 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no\n',
    "at": 1795332779.5,
}


@pytest.fixture
def log(tmp_path: Path) -> ErrorLog:
    return ErrorLog(tmp_path / "results.jsonl", max_attempts=3, host="node-1")


def test_an_entry_is_for_a_person(log: ErrorLog) -> None:
    log.append(**FAILURE)
    assert log.path.name == "results.jsonl.errors.txt"
    assert log.path.read_text() == (
        "\n" + "-" * 80 + "\n"
        '2026-11-22T07:32:59Z  item {"lr":0.1}  attempt 2 of 3  on node-1\n'
        "ValueError: no\n"
        "\n"
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1\n'
        "ValueError: no\n"
    )


def test_without_a_traceback_there_is_no_gap(log: ErrorLog) -> None:
    log.append(**{**FAILURE, "traceback": ""})
    assert log.path.read_text().endswith("on node-1\nValueError: no\n")


def test_entries_are_appended_also_by_a_later_run(log: ErrorLog) -> None:
    log.append(**FAILURE)
    first = log.path.read_text()
    ErrorLog(log.path.with_name("results.jsonl"), max_attempts=3, host="node-2").append(**FAILURE)
    assert log.path.read_text() == first + first.replace("node-1", "node-2")


def test_of_a_long_traceback_both_ends_are_written(log: ErrorLog) -> None:
    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        raise ValueError("at the bottom: " + "ä" * 30_000)

    try:
        deep(5)
    except ValueError as error:
        text = "".join(traceback.format_exception(error))
        log.append(**{**FAILURE, "error": f"ValueError: {error}", "traceback": text})
    written = log.path.read_text()
    assert "Traceback (most recent call last)" in written
    assert written.endswith("ä\n")
    assert " bytes left out ..." in written
    assert len(written.encode()) < TRACEBACK_LIMIT_BYTES + 5_000


def test_a_text_at_the_limit_is_whole_and_beyond_it_says_how_much_is_missing() -> None:
    given = {**FAILURE, "max_attempts": 3, "host": "h"}
    limit = TRACEBACK_LIMIT_BYTES
    assert "left out" not in entry_text(**{**given, "traceback": "x" * limit})
    assert "... 1 bytes left out ..." in entry_text(**{**given, "traceback": "x" * (limit + 1)})


def test_what_utf8_has_no_form_for_is_written_all_the_same(log: ErrorLog) -> None:
    log.append(**{**FAILURE, "error": "OSError: '\udcff'"})
    assert "OSError: '\\udcff'" in log.path.read_text()


def test_threads_do_not_mix_their_entries(log: ErrorLog) -> None:
    def append(number: int) -> None:
        for _ in range(20):
            log.append(**{**FAILURE, "key": str(number), "traceback": f"of {number}\n" * 200})

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = log.path.read_text().split("\n" + "-" * 80 + "\n")[1:]
    expected = [entry_text(**{**FAILURE, "key": str(n), "traceback": f"of {n}\n" * 200}, max_attempts=3, host="node-1")
                for n in range(4)]  # fmt: skip
    assert sorted(entries) == sorted(text.split("-" * 80 + "\n")[1] for text in expected for _ in range(20))


def test_what_cannot_be_written_is_a_warning_once_and_not_the_end(tmp_path: Path) -> None:
    log = ErrorLog(tmp_path / "results.jsonl", max_attempts=3, host="node-1")
    log.path.mkdir()
    with pytest.warns(ErrorLogWarning, match=r"errors\.txt cannot be written \(Is a directory\)"):
        log.append(**FAILURE)
    log.append(**FAILURE)  # a second warning would be an error here
    log.path.rmdir()
    log.append(**FAILURE)
    assert "ValueError: no" in log.path.read_text()


def test_a_write_that_the_disk_cuts_short_spoils_no_later_entry(log: ErrorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        write = os.write
        lengths = [10, 20]

        def short(file: int, data: bytes) -> int:
            if not lengths:
                raise OSError(28, "No space left on device")
            return write(file, data[: lengths.pop()])

        patch.setattr(os, "write", short)
        with pytest.warns(ErrorLogWarning, match="No space left"):
            log.append(**FAILURE)
    log.append(**FAILURE)
    whole = entry_text(**FAILURE, max_attempts=3, host="node-1")
    assert log.path.read_text() == whole[:30] + whole


def test_the_file_does_not_grow_without_end(log: ErrorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FILE_LIMIT_BYTES >= 1000 * TRACEBACK_LIMIT_BYTES
    monkeypatch.setattr(_error_log, "FILE_LIMIT_BYTES", 1000)
    for _ in range(20):
        log.append(**FAILURE)
    text = log.path.read_text()
    assert text.count("has reached its limit") == 1
    assert text.endswith("in the log of results only.\n")
    assert 1000 <= len(text.encode()) < 1500


def test_where_it_lies() -> None:
    assert error_log_path(Path("/out/a.jsonl")) == Path("/out/a.jsonl.errors.txt")
