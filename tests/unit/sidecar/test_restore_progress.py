from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resumable_sweep.contract.report import Answer, Report, Stage, parsed_report
from sweep_sidecar import command
from sweep_sidecar.restore_progress import LOGGED_EVERY_S, TOLD_AFTER_S, RestoreProgress
from sweep_sidecar.store import Unreachable

REPORT = Report(run_id="run", shard=0, attempt=1, sequence=0, stage=Stage.RESTORING)


class Watched:
    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Report] = []
        self.progress = RestoreProgress(REPORT, tell=self.told.append, monotonic=lambda: self.now)


def test_a_restore_that_is_soon_over_asks_nothing_of_the_operator() -> None:
    watched = Watched()
    watched.progress.plan(size=10, there=0)
    watched.progress.add(10)
    assert watched.told == []
    assert watched.progress.report.restored_bytes == 10


def test_a_long_one_says_how_far_it_is() -> None:
    watched = Watched()
    watched.progress.plan(size=10, there=4)
    watched.now = TOLD_AFTER_S
    watched.progress.add(5)
    assert [(report.restored_bytes, report.restore_bytes) for report in watched.told] == [(9, 10)]


def test_that_the_store_does_not_answer_is_said_at_once_and_taken_back() -> None:
    watched = Watched()
    watched.progress.wait(Unreachable("cannot read x"))
    assert (watched.told[-1].problem, watched.told[-1].message) == ("StoreUnreachable", "cannot read x")
    watched.progress.wait(None)
    assert (watched.told[-1].problem, watched.told[-1].message) == ("", "")


def test_its_log_has_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    caplog.set_level("INFO")
    watched.progress.plan(size=1000, there=0)
    for _ in range(100):
        watched.now += LOGGED_EVERY_S / 10
        watched.progress.add(10)
    assert 8 <= len(caplog.records) <= 10
    assert caplog.records[-1].getMessage().endswith("of 1000 bytes")


class FakeOperator:
    """Takes reports over HTTP."""

    def __init__(self) -> None:
        self.told: list[Report] = []
        self.came = threading.Condition()
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with operator.came:
                    operator.told.append(parsed_report(json.loads(body)))
                    operator.came.notify_all()
                answer = Answer().to_json().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def operator() -> Iterator[FakeOperator]:
    operator = FakeOperator()
    yield operator
    operator.server.shutdown()
    operator.server.server_close()


def test_the_operator_hears_that_a_restore_waits_for_the_store(tmp_path: Path, operator: FakeOperator) -> None:
    in_the_way = tmp_path / "store"
    in_the_way.touch()
    (tmp_path / "snapshot").mkdir()
    restore = subprocess.Popen(
        [sys.executable, "-m", "sweep_sidecar", "restore"],
        env={
            **os.environ,
            "SWEEP_STORE_URL": f"file://{in_the_way}/run",
            "SWEEP_RUN_ID": "run",
            "SWEEP_SHARDS": "1",
            "SWEEP_SHARD": "0",
            "SWEEP_ATTEMPT": "3",
            "SWEEP_POD_UID": "pod",
            "SWEEP_SNAPSHOT_DIR": str(tmp_path / "snapshot"),
            "SWEEP_REPORT_URL": f"http://127.0.0.1:{operator.server.server_port}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with operator.came:
            assert operator.came.wait_for(lambda: bool(operator.told), timeout=30)
            (first,) = operator.told
        assert (first.attempt, first.stage, first.problem) == (3, Stage.RESTORING, "StoreUnreachable")
        assert str(in_the_way) in first.message
        in_the_way.unlink()
        said, _ = restore.communicate(timeout=60)
    finally:
        restore.kill()
        restore.wait()
    outcome = json.loads(said.splitlines()[-1])
    assert outcome["reason"] == "FreshStart"
    last = parsed_report(outcome["details"])
    assert (last.problem, last.stage) == ("", Stage.RESTORING)
    assert last.sequence > max(report.sequence for report in operator.told)


def test_credentials_that_come_late_are_waited_for_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    watched = Watched()
    tries = iter([Unreachable("no credentials"), None])

    def open_it() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "open"

    assert command._patiently(open_it, waiting=watched.progress.wait) == "open"
    assert [report.message for report in watched.told] == ["no credentials", ""]
