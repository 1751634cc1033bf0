"""The notice file: what it says, and what that does to a program."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import _notice
from resumable_sweep._notice import NO_REASON, Notice, NoticeFile, parsed_notice, read_notice
from resumable_sweep._stopping import NOTICE_MARGIN_SECONDS, StopSignals

MOMENT = 1767323045.0
"""2026-01-02T03:04:05Z."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notice.json"


def write(path: Path, **content: Any) -> None:
    """Make the notice appear whole, as a good announcer does: what is half written is a notice too."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("deadline", "found"),
    [
        (MOMENT, MOMENT),
        (int(MOMENT), MOMENT),
        ("2026-01-02T03:04:05Z", MOMENT),
        ("2026-01-02t03:04:05z", MOMENT),
        ("2026-01-02T05:34:05.250+02:30", MOMENT + 0.25),
        (None, None),
    ],
)
def test_a_deadline_is_unix_seconds_or_a_time_with_its_offset(deadline: object, found: float | None) -> None:
    notice = parsed_notice(json.dumps({"reason": "spot", "deadline": deadline}).encode())
    assert notice == Notice(reason="spot", deadline=found)


@pytest.mark.parametrize(
    "deadline",
    [
        *("", "soon", "2026-01-02T03:04:05", "0001-01-01T00:00:00Z"),
        *(MOMENT * 1000, 0, -1, 10**400, float("nan"), float("inf"), True, [MOMENT]),
    ],
    ids=lambda deadline: repr(deadline)[:20],
)
def test_a_deadline_that_is_not_understood_leaves_a_notice_without_one(deadline: object) -> None:
    notice = parsed_notice(json.dumps({"reason": "spot", "deadline": deadline}).encode())
    assert (notice.reason, notice.deadline) == ("spot", None)
    assert repr(deadline)[:20] in notice.problem


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[1]", b'"spot"', b"[" * 100_000])
def test_garbage_is_a_notice_that_says_nothing(data: bytes) -> None:
    notice = parsed_notice(data)
    assert (notice.reason, notice.deadline) == (NO_REASON, None)
    assert "not" in notice.problem


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b'{"reason": 3}', b'{"reason": " \\n"}'])
def test_a_reason_may_be_missing(data: bytes) -> None:
    assert parsed_notice(data) == Notice(reason=NO_REASON)


def test_a_reason_cannot_write_on_the_terminal() -> None:
    reason = parsed_notice(json.dumps({"reason": "spot\x1b[2J\r\nreclaim" + "!" * 1000}).encode()).reason
    assert reason.startswith("spot [2J reclaim!")
    assert len(reason) <= 200


def test_no_file_is_no_notice(path: Path) -> None:
    assert read_notice(path) is None
    assert read_notice(path / "below" / "it") is None
    path.touch()
    assert read_notice(path / "below-a-file") is None
    assert read_notice(path) == Notice()


def test_a_file_that_may_not_be_read_is_a_notice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path.touch()
    monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, whom nothing is refused
    assert read_notice(path) == Notice(problem="it cannot be read: Permission denied")
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(PermissionError):
        read_notice(path)


def test_changes_are_told_once_each(path: Path) -> None:
    told: list[Notice | None] = []
    file = NoticeFile(path, changed=told.append, report=lambda text: None)

    def look_twice() -> None:
        file.look()
        file.look()

    look_twice()
    assert told == []
    write(path, reason="one")
    look_twice()
    path.write_text("{")
    look_twice()
    path.unlink()
    look_twice()
    assert told == [Notice(reason="one"), Notice(problem="it is not JSON"), None]


def test_a_folder_that_is_away_for_a_moment_withdraws_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Notice | None] = []
    said: list[str] = []
    file = NoticeFile(path, changed=told.append, report=said.append)
    path.touch()
    file.look()

    def fail(path: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(_notice, "read_notice", fail)
        file.look()
        file.look()
    file.look()
    assert told == [Notice()]
    assert len(said) == 1
    assert str(path) in said[0]


def test_it_is_not_looked_at_for_every_item(path: Path) -> None:
    now = [100.0]
    told: list[Notice | None] = []
    file = NoticeFile(path, changed=told.append, report=lambda text: None, clock=lambda: now[0])
    file.look_if_time()
    path.touch()
    now[0] += 0.09
    file.look_if_time()
    assert told == []
    now[0] += 0.02
    file.look_if_time()
    assert told == [Notice()]


def test_a_folder_is_no_notice_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"notice_file='{tmp_path}' is a folder: name the file"):
        StopSignals(notice_file=tmp_path)


def test_a_notice_asks_to_stop_as_sigterm_does(path: Path) -> None:
    said: list[str] = []
    with StopSignals(notice_file=path, report=said.append) as stop:
        assert not stop.stopping
        write(path, reason="spot reclaim")
        eventually(lambda: stop.stopping)
        assert (stop.signum, stop.exit_status, stop.reason) == (signal.SIGTERM, 143, "notice: spot reclaim")
        assert stop.deadline is None
    assert stop.exit_status == 143
    assert said == ["notice: spot reclaim: finishing the item at hand, then leaving with status 143"]


def test_a_notice_is_seen_without_anybody_asking(path: Path) -> None:
    said: list[str] = []
    with StopSignals(notice_file=path, report=said.append):
        write(path, reason="spot", deadline="soon")
        eventually(lambda: said)
    (text,) = said
    assert text.startswith(
        "notice: spot (its deadline is neither Unix seconds nor an RFC 3339 time with its offset: 'soon')"
    )


def test_it_counts_also_if_it_was_there_before(path: Path) -> None:
    path.touch()
    with StopSignals(notice_file=path, report=lambda text: None) as stop:
        assert stop.stopping


def test_a_notice_that_goes_away_is_withdrawn(path: Path) -> None:
    said: list[str] = []
    path.touch()
    with StopSignals(notice_file=path, grace=30, report=said.append) as stop:
        path.unlink()
        eventually(lambda: not stop.stopping)
        assert (stop.reason, stop.deadline, stop.exit_status) == (None, None, None)
        stop.leave_if_asked()
        write(path, reason="again")
        eventually(lambda: stop.stopping)
    assert [text.split(":")[0] for text in said] == ["notice", "the notice is withdrawn", "notice"]


def test_after_a_signal_nothing_is_withdrawn(path: Path) -> None:
    said: list[str] = []
    path.touch()
    with StopSignals(notice_file=path, report=said.append) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"
        path.unlink()
        eventually(lambda: not (stop.stopping and stop._notice))
        assert stop.exit_status == 143
    assert [text.split(":")[0] for text in said] == ["notice", "SIGTERM"]


def test_once_the_program_is_leaving_nothing_is_withdrawn(path: Path) -> None:
    path.touch()
    with StopSignals(notice_file=path, report=lambda text: None) as stop:
        with pytest.raises(SystemExit, match="143"):
            stop.leave_if_asked()
        path.unlink()
        assert stop._notice_file is not None
        stop._notice_file.look()
        assert stop.exit_status == 143


def test_an_interrupt_after_a_notice_is_a_second_one(path: Path) -> None:
    path.touch()
    with StopSignals(notice_file=path, report=lambda text: None):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("grace", "left"), [(None, 60 - NOTICE_MARGIN_SECONDS), (20, 20), (300, 58)])
def test_the_deadline_cuts_the_grace(path: Path, grace: float | None, left: float) -> None:
    write(path, reason="spot", deadline=MOMENT + 60)
    said: list[str] = []
    stop = StopSignals(
        grace=grace, notice_file=path, clock=lambda: 1000.0, unix_time=lambda: MOMENT, report=said.append
    )
    with stop:
        assert stop.deadline == 1000.0 + left
    assert f"within {left:g} s" in said[0]


def test_the_deadline_of_a_notice_that_comes_after_a_signal_counts(path: Path) -> None:
    stop = StopSignals(notice_file=path, clock=time.monotonic, unix_time=lambda: MOMENT, report=lambda text: None)
    with stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.deadline is None
        write(path, deadline=MOMENT + 60)
        eventually(lambda: stop.deadline is not None)
        assert stop.deadline is not None
        assert 0 < stop.deadline - time.monotonic() <= 58
        assert stop.reason == "SIGTERM"


def test_a_notice_that_is_still_being_written_gets_its_deadline_in_the_end(path: Path) -> None:
    path.write_text('{"reason": "sp')
    with StopSignals(notice_file=path, grace=50, unix_time=lambda: MOMENT, report=lambda text: None) as stop:
        asked = stop.deadline
        write(path, reason="spot", deadline=MOMENT + 1000)
        eventually(lambda: stop.reason == "notice: spot")
        assert stop.deadline == asked  # the grace runs from the first sight of it


def test_the_item_at_hand_is_abandoned_when_the_deadline_comes(path: Path) -> None:
    said: list[str] = []

    def run() -> None:
        with StopSignals(notice_file=path, report=said.append):
            write(path, reason="spot", deadline=time.time() + NOTICE_MARGIN_SECONDS + 0.7)
            threading.Event().wait(20)

    with pytest.raises(SystemExit, match="143"):
        run()
    assert "within" in said[0]
    assert said[1] == "notice: spot: no time is left: abandoning the item at hand, leaving with status 143"


def test_off_the_main_thread_a_notice_is_seen_and_nothing_raised(path: Path) -> None:
    write(path, deadline=1)
    seen: list[object] = []

    def work() -> None:
        with StopSignals(grace=0, notice_file=path, report=lambda text: None) as stop:
            eventually(lambda: stop._watching)
            seen.extend([stop.stopping, stop.exit_status])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, 143]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_in_a_forked_child_nobody_looks(path: Path) -> None:
    with StopSignals(notice_file=path, report=lambda text: None) as stop:
        child = os.fork()
        if child == 0:
            path.touch()
            os._exit(1 if stop.stopping or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        eventually(lambda: stop.stopping)
