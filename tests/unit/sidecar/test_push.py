from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resumable_sweep.contract.report import Answer, Experiment, NoticeKind, Report, Stage, parsed_report
from sweep_sidecar.push import HttpOperator, Pusher, PushFailed, ReportNumbers, paused_s


def report(done: int = 0, notice: NoticeKind = NoticeKind.NONE) -> Report:
    return Report(run_id="run", shard=0, attempt=1, sequence=0, stage=Stage.MIRRORING, items_done=done, notice=notice)


class FakeOperator:
    def __init__(self) -> None:
        self.told: list[Report] = []
        self.answer: Answer | None = Answer()
        self.heard = threading.Condition()

    def tell(self, report: Report) -> Answer:
        with self.heard:
            self.told.append(report)
            self.heard.notify_all()
        if self.answer is None:
            raise PushFailed("not now")
        return self.answer

    def wait_for(self, count: int) -> None:
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.told) >= count, timeout=10)


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()


@pytest.fixture
def start(operator: FakeOperator) -> Iterator[Callable[..., Pusher]]:
    started: list[Pusher] = []

    def start(
        heartbeat_s: float = 60, heard: Callable[[Answer], None] = lambda answer: None, jitter: float = 0.0
    ) -> Pusher:
        pusher = Pusher(
            operator,
            numbers=ReportNumbers(clock=lambda: 1.0),
            heard=heard,
            jitter=lambda: jitter,
            heartbeat_s=heartbeat_s,
            least_pause_s=0.0,
            notice_pause_s=0.001,
        )
        pusher.start()
        started.append(pusher)
        return pusher

    yield start
    for pusher in started:
        pusher.stop()


def test_a_change_is_told_at_once(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    pusher = start()
    pusher.note(report(1))
    operator.wait_for(1)
    assert operator.told[0].items_done == 1


def test_what_says_nothing_new_is_not_told_again(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    pusher = start()
    pusher.note(report(1))
    operator.wait_for(1)
    pusher.note(report(1))
    pusher.note(report(2))
    operator.wait_for(2)
    assert [told.items_done for told in operator.told] == [1, 2]


def test_a_heartbeat_goes_on_without_changes(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    pusher = start(heartbeat_s=0.01)
    pusher.note(report(1))
    operator.wait_for(4)


def test_nothing_is_told_before_there_is_something_to_tell(
    operator: FakeOperator, start: Callable[..., Pusher]
) -> None:
    pusher = start(heartbeat_s=0.01)
    time.sleep(0.05)
    pusher.stop()
    assert operator.told == []


def test_numbers_grow_over_pushes_of_both_kinds(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    pusher = start()
    assert pusher.push(report(1)) == Answer()
    pusher.note(report(2))
    operator.wait_for(2)
    assert pusher.push(report(3)) == Answer()
    assert [told.sequence for told in operator.told] == [1000, 1001, 1002]


def test_an_operator_that_does_not_answer_is_nobodys_failure(
    operator: FakeOperator, start: Callable[..., Pusher]
) -> None:
    operator.answer = None
    assert start().push(report(1)) is None


def test_answers_are_heard(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    heard: list[Answer] = []
    came = threading.Event()

    def hear(answer: Answer) -> None:
        heard.append(answer)
        came.set()

    operator.answer = Answer(superseded=True)
    start(heard=hear).note(report(1))
    assert came.wait(10)
    assert heard == [Answer(superseded=True)]


def test_a_failed_report_is_tried_again(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    operator.answer = None
    pusher = start()
    pusher.note(report(1))
    operator.wait_for(1)
    operator.answer = Answer()
    operator.wait_for(2)
    assert operator.told[1].items_done == 1


def test_a_hard_notice_is_told_again_until_the_operator_has_noted_it(
    operator: FakeOperator, start: Callable[..., Pusher]
) -> None:
    noted = threading.Event()
    pusher = start(heard=lambda answer: noted.set() if answer.notice_noted else None)
    pusher.note(report(1, NoticeKind.GCE_PREEMPTED))
    operator.wait_for(5)
    operator.answer = Answer(notice_noted=True)
    assert noted.wait(10)
    told = len(operator.told)
    pusher.note(report(2, NoticeKind.GCE_PREEMPTED))
    operator.wait_for(told + 1)
    assert [told.items_done for told in operator.told] == [1] * told + [2]
    # What is announced after that is news.
    operator.answer = Answer()
    pusher.note(report(2, NoticeKind.EC2_INTERRUPTION))
    operator.wait_for(told + 5)


@pytest.mark.parametrize("notice", [NoticeKind.EC2_REBALANCE, NoticeKind.AZURE_MAINTENANCE])
def test_advice_is_told_once(operator: FakeOperator, start: Callable[..., Pusher], notice: NoticeKind) -> None:
    pusher = start()
    pusher.note(report(1, notice))
    operator.wait_for(1)
    pusher.note(report(2, notice))
    operator.wait_for(2)
    assert [told.items_done for told in operator.told] == [1, 2]


def test_a_hard_notice_does_not_wait_for_the_next_try(operator: FakeOperator, start: Callable[..., Pusher]) -> None:
    operator.answer = None
    pusher = start(jitter=1.0)
    pusher.note(report(1))
    operator.wait_for(3)  # the next pause is of 4 s
    operator.answer = Answer()
    began = time.monotonic()
    pusher.note(report(1, NoticeKind.AZURE_PREEMPT))
    operator.wait_for(4)
    assert operator.told[3].notice is NoticeKind.AZURE_PREEMPT
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"),
    [(1, 0.0, 1.0), (1, 1.0, 1.0), (2, 0.0, 1.0), (3, 0.0, 2.0), (3, 1.0, 4.0), (50, 0.0, 15.0), (50, 1.0, 30.0)],
)
def test_pauses_grow_up_to_a_limit(failures: int, jitter: float, seconds: float) -> None:
    assert paused_s(failures, jitter=jitter) == seconds


def test_numbers_grow_even_where_the_clock_goes_back() -> None:
    times = iter([5.0, 4.0, 6.0])
    numbers = ReportNumbers(clock=lambda: next(times))
    assert [numbers.next() for _ in range(3)] == [5000, 5001, 6000]


class TestHttpOperator:
    @pytest.fixture
    def server(self) -> Iterator[ThreadingHTTPServer]:
        received: list[tuple[str, str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.append((self.path, self.headers.get("Authorization", ""), body))
                status, content = self.server.reply  # type: ignore[attr-defined]
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.received = received  # type: ignore[attr-defined]
        server.reply = (200, Answer(experiment=Experiment.SUCCEEDED).to_json().encode())  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        server.server_close()
        thread.join()

    def test_a_report_carries_the_pods_token_as_it_is_now(self, server: ThreadingHTTPServer, tmp_path: Path) -> None:
        token = tmp_path / "token"
        operator = HttpOperator(f"http://127.0.0.1:{server.server_port}", token)
        for content in ("first\n", "second\n"):
            token.write_text(content)
            assert operator.tell(report(3)) == Answer(experiment=Experiment.SUCCEEDED)
        received = server.received  # type: ignore[attr-defined]
        assert [(path, token) for path, token, _ in received] == [
            ("/v1/report", "Bearer first"),
            ("/v1/report", "Bearer second"),
        ]
        assert parsed_report(json.loads(received[0][2])) == report(3)

    @pytest.mark.parametrize("reply", [(401, b""), (503, b""), (200, b"not json"), (200, b"[]")])
    def test_a_refusal_is_a_failed_push(self, server: ThreadingHTTPServer, reply: tuple[int, bytes]) -> None:
        server.reply = reply  # type: ignore[attr-defined]
        with pytest.raises(PushFailed):
            HttpOperator(f"http://127.0.0.1:{server.server_port}", None).tell(report())

    def test_a_token_that_is_missing_is_a_failed_push(self, tmp_path: Path) -> None:
        with pytest.raises(PushFailed):
            HttpOperator("http://127.0.0.1:1", tmp_path / "token").tell(report())
