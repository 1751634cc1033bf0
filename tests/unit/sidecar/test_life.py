from __future__ import annotations

import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from resumable_sweep._notice import read_notice
from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)
from resumable_sweep.contract.report import Answer, Experiment, NoticeKind, Report, Stage
from sweep_sidecar.mirror import life, pace
from sweep_sidecar.mirror.life import MirrorLife
from sweep_sidecar.mirror.pulse import STUCK_AFTER_S
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.file import NoticeFile
from sweep_sidecar.push import Pusher, ReportNumbers
from sweep_sidecar.restore import restored_attempt
from sweep_sidecar.settings import AttemptSettings
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.whole_life import ask

PREEMPTED = Announcement(NoticeKind.GCE_PREEMPTED, 1_800_000_030.0)
END = signal.SIGUSR2
"""Stands for SIGTERM, which pytest keeps for itself."""


class FakeOperator:
    def __init__(self) -> None:
        self.told: list[Report] = []
        self.experiment: Callable[[int], Experiment] = lambda asked: Experiment.RUNNING
        self.superseded = False
        self._sealed = 0

    def tell(self, report: Report) -> Answer:
        self.told.append(report)
        self._sealed += report.stage is Stage.SEALED
        return Answer(experiment=self.experiment(self._sealed), superseded=self.superseded)


class FakeWatch:
    """Announces what the test says, in the test's own thread."""

    def __init__(self) -> None:
        self.is_on = False
        self.announce: Callable[[Announcement | None], None] = lambda announced: None

    def start(self) -> None:
        self.is_on = True

    def stop(self) -> None:
        self.is_on = False

    def made(self, changed: Callable[[Announcement | None], None]) -> FakeWatch:
        self.announce = changed
        return self


class Pod:
    """One pod whose experiment writes `out.bin`, and a mirror in threads of this process."""

    def __init__(
        self,
        folder: Path,
        *,
        operator: FakeOperator | None,
        stop_path: str = "/stop/x",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = MemoryStore()
        self.left: list[Report] = []
        self.is_ending = False
        self.operator = operator
        self.watch = FakeWatch()
        self.settings = AttemptSettings.from_environment(
            {
                "SWEEP_STORE_URL": "memory://run",
                "SWEEP_RUN_ID": "run",
                "SWEEP_SHARDS": "1",
                "SWEEP_SHARD": "0",
                "SWEEP_ATTEMPT": "1",
                "SWEEP_POD_UID": "pod",
                "SWEEP_SNAPSHOT_DIR": str(folder),
                "SWEEP_CHECKPOINT_FILE": "out.bin",
                "SWEEP_INTERVAL": "600",
                "SWEEP_PORT": "0",
                "SWEEP_STOP_PATH": stop_path,
            }
        )
        restored_attempt(self.store, self.settings, nonce=lambda: "r", clock=lambda: 1.0)
        numbers = ReportNumbers()

        def pusher_for(heard: Callable[[Answer], None]) -> Pusher | None:
            if operator is None:
                return None
            return Pusher(operator, numbers=numbers, heard=heard, jitter=lambda: 0.0, heartbeat_s=0.02, least_pause_s=0)

        self.life = MirrorLife(
            self.settings,
            writer_for=lambda tell: AttemptWriter(
                self.store, self.settings, nonce=lambda: "m", clock=lambda: 1.0, tell=tell
            ),
            pusher_for=pusher_for,
            monotonic=monotonic,
            leave=lambda report: self.left.append(report),
            watch_for=self.watch.made,
        )
        self.outcome: Report | BaseException | None = None
        self._ident = 0
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def write(self, data: bytes) -> None:
        (self.settings.snapshot / "out.bin").write_bytes(data)

    def ask(self) -> int:
        """Ask for a look as the experiment does, and return the number of the request."""
        with requests_path(self.settings.snapshot).open("ab") as requests:
            requests.write(b".")
        return requests_path(self.settings.snapshot).stat().st_size

    def said(self) -> Acknowledgement:
        return parsed_acknowledgement(acknowledgement_path(self.settings.snapshot).read_bytes())

    def get(self, path: str) -> int:
        return ask(self.life.server.port, path)

    def end_as_a_kubelet_does(self) -> Report:
        self.get("/flush")
        return self.end()

    def end(self) -> Report:
        self.is_ending = True
        signal.pthread_kill(self._thread.ident or 0, END)
        self._thread.join(30)
        assert isinstance(self.outcome, Report), self.outcome
        return self.outcome

    def close(self) -> None:
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident or 0, END)
            self._thread.join(30)
        stopping = threading.Thread(target=self.life.server.stop)
        stopping.start()
        while stopping.is_alive():  # a server looks twice a second whether it is to stop, and after each request
            with suppress(OSError):
                self.get("/healthz")

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [END])
        try:
            self.outcome = self.life.run([END])
        except BaseException as error:
            self.outcome = error


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(pace, "LEAST_PAUSE_S", 0.05)


@pytest.fixture(autouse=True)
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [END])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    started: list[Pod] = []

    def start(operator: FakeOperator | None = None, stop_path: str = "/stop/x") -> Pod:
        pod = Pod(tmp_path / "snapshot", operator=operator, stop_path=stop_path)
        started.append(pod)
        pod.start()
        while pod.get("/healthz") != 200:
            assert pod.outcome is None, pod.outcome
        return pod

    yield start
    for pod in started:
        pod.close()


def test_a_flush_brings_what_is_there_into_the_store(start: Callable[..., Pod]) -> None:
    pod = start()
    assert pod.get("/flush") == 200
    pod.write(b"content")
    before = len(pod.store.objects)
    assert pod.get("/flush") == 200
    assert len(pod.store.objects) == before + 1
    assert pod.get("/") == 404


def test_a_flush_says_when_the_store_does_not_answer(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.write(b"content")
    pod.store.fault = lambda call, key: "lost"
    assert pod.get("/flush") == 503
    pod.store.fault = lambda call, key: None
    assert pod.get("/flush") == 200


def test_an_exit_of_its_own_accord_is_asked_for_until_the_operator_has_seen_it(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED if asked >= 3 else Experiment.RUNNING
    pod = start(operator)
    pod.write(b"done")
    report = pod.end_as_a_kubelet_does()
    assert report.stage is Stage.COMPLETE
    stages = [told.stage for told in operator.told]
    assert stages.count(Stage.SEALED) >= 3
    assert stages[-1] is Stage.COMPLETE


def test_a_fired_stop_hook_forfeits_the_exit_codes_word(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator)
    pod.write(b"done")
    assert pod.get("/stop/x") == 200
    assert pod.end_as_a_kubelet_does().stage is Stage.SEALED


def test_an_end_that_is_not_the_kubelet_s_proves_nothing(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator)
    pod.write(b"done")
    # A machine that shuts down without its kubelet sends SIGTERM to all processes alike, and asks no hook.
    assert pod.end().stage is Stage.SEALED


def test_without_a_stop_hook_or_an_operator_no_exit_proves_anything(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator, stop_path="")
    pod.write(b"done")
    assert pod.end_as_a_kubelet_does().stage is Stage.SEALED


def test_an_experiment_that_failed_is_sealed(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.FAILED
    pod = start(operator)
    assert pod.end().stage is Stage.SEALED


def test_a_hint_of_the_operators_is_checked_in_the_store(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.superseded = True
    pod = start(operator)
    operator.told.clear()
    while len(operator.told) < 5:
        assert pod.get("/healthz") == 200
    assert {told.stage for told in operator.told} == {Stage.MIRRORING}
    successor = AttemptSettings.from_environment(
        {
            "SWEEP_STORE_URL": "memory://run",
            "SWEEP_RUN_ID": "run",
            "SWEEP_SHARDS": "1",
            "SWEEP_SHARD": "0",
            "SWEEP_ATTEMPT": "2",
            "SWEEP_POD_UID": "other",
            "SWEEP_SNAPSHOT_DIR": f"{pod.settings.snapshot}-2",
            "SWEEP_CHECKPOINT_FILE": "out.bin",
        }
    )
    restored_attempt(MemoryStore(pod.store.objects), successor, nonce=lambda: "s", clock=lambda: 1.0)
    while operator.told[-1].stage is not Stage.STOPPED:
        assert pod.get("/healthz") == 200  # it keeps serving: its pod must not be restarted
    assert pod.end().problem == "Superseded"


def test_the_end_waits_for_the_store(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.write(b"content")
    failures = iter([True, True])
    pod.store.fault = lambda call, key: "lost" if call == "create" and next(failures, False) else None
    assert pod.end().stage is Stage.SEALED
    assert pod.end().generation == 2


def test_a_store_that_does_not_answer_is_told(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.FAILED
    pod = start(operator)
    pod.write(b"content")
    pod.store.fault = lambda call, key: "lost"
    assert pod.get("/flush") == 503
    while not operator.told or operator.told[-1].problem != "StoreUnreachable":
        assert pod.get("/healthz") == 200
    pod.store.fault = lambda call, key: None
    assert pod.get("/flush") == 200
    while operator.told[-1].problem:
        assert pod.get("/healthz") == 200


def test_a_look_that_the_experiment_asks_for_comes_long_before_its_time(start: Callable[..., Pod]) -> None:
    pod = start()
    for number in range(1, 4):
        pod.write(b"x" * number)
        request = pod.ask()
        while pod.said().requests < request:
            assert pod.get("/healthz") == 200, pod.outcome
        assert pod.said().files["out.bin"].size_bytes == number


def test_an_acknowledgement_is_there_before_the_experiment_starts(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "snapshot", operator=None)
    pod.store.fault = lambda call, key: "lost"
    pod.start()
    try:
        # The store does not answer; yet a program that waits for it must not take the mirror for absent.
        while not acknowledgement_path(pod.settings.snapshot).exists() or not pod.said().message:
            assert pod.get("/healthz") == 503, pod.outcome
        assert pod.said().generation is None
        pod.store.fault = lambda call, key: None
        assert pod.get("/flush") == 200
    finally:
        pod.close()


def test_a_request_that_the_store_did_not_bear_is_answered_in_the_end(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.write(b"content")
    pod.store.fault = lambda call, key: "lost"
    request = pod.ask()
    while not pod.said().message:
        assert pod.get("/healthz") == 200, pod.outcome
    assert pod.said().requests < request
    pod.store.fault = lambda call, key: None
    assert pod.get("/flush") == 200
    assert pod.said().requests == request
    assert pod.said().message == ""


def test_a_reclaim_that_is_announced_asks_the_experiment_to_stop_and_is_reported(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    pod = start(operator)
    pod.watch.announce(PREEMPTED)
    noticed = read_notice(pod.settings.notice_file)
    assert noticed is not None
    assert (noticed.reason, noticed.deadline) == ("GcePreempted", 1_800_000_030.0)
    while not operator.told or operator.told[-1].notice is NoticeKind.NONE:
        assert pod.get("/healthz") == 200
    assert operator.told[-1].notice_deadline == 1_800_000_030.0
    assert pod.end().notice is NoticeKind.GCE_PREEMPTED
    assert not pod.watch.is_on


def test_what_is_new_is_stored_again_and_again_while_the_machine_is_going(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.watch.announce(PREEMPTED)
    for number in (1, 2):  # the next look at its own time would come after 600 s
        pod.write(b"x" * number)
        while "out.bin" not in pod.said().files or pod.said().files["out.bin"].size_bytes != number:
            assert pod.get("/healthz") == 200, pod.outcome


def test_a_reclaim_that_is_withdrawn_leaves_no_trace_but_doubt(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator)
    pod.watch.announce(PREEMPTED)
    pod.watch.announce(None)
    assert not pod.settings.notice_file.exists()
    while not operator.told or operator.told[-1].notice is not NoticeKind.NONE:
        assert pod.get("/healthz") == 200
    pod.write(b"done")
    # The program may have stopped for the notice.
    assert pod.end_as_a_kubelet_does().stage is Stage.SEALED


def test_advice_is_reported_and_stores_what_is_new_but_stops_nobody(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator)
    pod.write(b"content")
    pod.watch.announce(Announcement(NoticeKind.EC2_REBALANCE))
    while "out.bin" not in pod.said().files or not operator.told or operator.told[-1].notice is NoticeKind.NONE:
        assert pod.get("/healthz") == 200, pod.outcome
    assert not pod.settings.notice_file.exists()
    assert pod.end_as_a_kubelet_does().stage is Stage.COMPLETE


def test_a_mirror_that_was_started_again_knows_that_the_experiment_was_asked_to_stop(tmp_path: Path) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    notice = tmp_path / "snapshot" / ".sweep" / "notice.json"
    notice.parent.mkdir(parents=True)
    notice.write_text("{}")
    pod = Pod(tmp_path / "snapshot", operator=operator)
    pod.start()
    try:
        while pod.get("/healthz") != 200:
            assert pod.outcome is None, pod.outcome
        pod.watch.announce(None)
        assert not notice.exists()
        pod.write(b"done")
        assert pod.end_as_a_kubelet_does().stage is Stage.SEALED
    finally:
        pod.close()


def test_a_mirror_that_was_started_again_does_not_withdraw_what_it_does_not_know_to_be_over(tmp_path: Path) -> None:
    notice = tmp_path / "snapshot" / ".sweep" / "notice.json"
    notice.parent.mkdir(parents=True)
    NoticeFile(notice).show(PREEMPTED)
    operator = FakeOperator()
    pod = Pod(tmp_path / "snapshot", operator=operator)
    pod.start()
    try:
        while len(operator.told) < 2:
            assert pod.outcome is None, pod.outcome
        assert {(told.notice, told.notice_deadline) for told in operator.told} == {(PREEMPTED.kind, PREEMPTED.deadline)}
        pod.watch.announce(None)
        while operator.told[-1].notice is not NoticeKind.NONE:
            assert pod.outcome is None, pod.outcome
        assert not notice.exists()
    finally:
        pod.close()


def test_nothing_is_told_of_a_reclaim_before_it_is_known_where_the_attempt_stands(tmp_path: Path) -> None:
    operator = FakeOperator()
    pod = Pod(tmp_path / "snapshot", operator=operator)
    pod.watch.announce(PREEMPTED)
    assert pod.life._pusher is not None
    assert pod.life._pusher._newest is None
    pod.start()
    try:
        while not operator.told:
            assert pod.outcome is None, pod.outcome
        assert operator.told[0].notice is NoticeKind.GCE_PREEMPTED
    finally:
        pod.close()


def test_each_generation_is_left_as_last_words_at_once(start: Callable[..., Pod]) -> None:
    """SIGKILL leaves no time for them."""
    pod = start()
    pod.write(b"content")
    assert pod.get("/flush") == 200
    assert pod.left[-1].generation == 2
    assert pod.left[-1].stage is Stage.MIRRORING
    assert pod.end() == pod.left[-1]


def test_a_store_that_does_not_answer_is_no_reason_to_start_the_mirror_again(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.write(b"content")
    pod.store.fault = lambda call, key: "lost"
    assert pod.get("/flush") == 503
    assert pod.get("/healthz") == 200
    pod.store.fault = lambda call, key: None


def test_a_worker_that_hangs_is(tmp_path: Path) -> None:
    turned = 0.0
    hangs, go_on = threading.Event(), threading.Event()
    pod = Pod(tmp_path / "snapshot", operator=None, monotonic=lambda: time.monotonic() + turned)
    pod.start()
    try:
        while pod.get("/healthz") != 200:
            assert pod.outcome is None, pod.outcome

        def hang() -> None:
            hangs.set()
            go_on.wait(60)

        pod.store.fault = lambda call, key: hang
        pod.write(b"content")
        assert pod.get("/stop/x") == 200
        assert hangs.wait(30)
        assert pod.get("/healthz") == 200
        turned = 2 * STUCK_AFTER_S
        while pod.get("/healthz") == 200:  # what it computed until it hung still counts at the first look
            turned += 2 * STUCK_AFTER_S
        pod.store.fault = lambda call, key: None
        go_on.set()
        while pod.get("/healthz") != 200:
            assert pod.outcome is None, pod.outcome
    finally:
        go_on.set()
        pod.close()


def test_the_last_flush_is_not_tried_for_ever(tmp_path: Path) -> None:
    turned = 0.0
    pod = Pod(tmp_path / "snapshot", operator=None, monotonic=lambda: time.monotonic() + turned)
    pod.start()
    try:
        while pod.get("/healthz") != 200:
            assert pod.outcome is None, pod.outcome
        pod.write(b"content")
        asked = threading.Event()

        def refused(call: str, key: str) -> str:
            nonlocal turned
            if pod.is_ending:
                asked.set()
                turned += 110
            return "lost"

        pod.store.fault = refused
        report = pod.end()
        assert asked.is_set()
        assert 300 <= turned < 600
        assert (report.stage, report.problem) == (Stage.MIRRORING, "StoreUnreachable")
        assert pod.left[-1] == report
    finally:
        pod.close()


def test_a_store_that_answers_too_late_for_the_beginning_is_no_defect(tmp_path: Path) -> None:
    turned = 0.0
    pod = Pod(tmp_path / "snapshot", operator=None, monotonic=lambda: time.monotonic() + turned)
    pod.write(b"content")

    def refused(call: str, key: str) -> str:
        nonlocal turned
        if pod.is_ending:
            turned += 400
            pod.store.fault = lambda call, key: None
        return "lost"

    pod.store.fault = refused
    pod.start()
    try:
        while pod.life._writer.report.problem != "StoreUnreachable":
            assert pod.outcome is None, pod.outcome
        report = pod.end()
        assert (report.stage, report.problem) == (Stage.MIRRORING, "StoreUnreachable")
        assert pod.get("/flush") == 503  # not all that was there is in the store
    finally:
        pod.close()


def test_the_metrics_say_what_was_done(start: Callable[..., Pod]) -> None:
    pod = start()
    pod.write(b"content")
    assert pod.get("/flush") == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{pod.life.server.port}/metrics", timeout=30) as answer:
        kind, text = answer.headers["Content-Type"], answer.read().decode()
    assert kind.startswith("text/plain; version=0.0.4")
    assert "resumable_sweep_mirror_generations_total 1\n" in text
    assert 'resumable_sweep_mirror_looks_total{outcome="held"}' in text
    assert "resumable_sweep_mirror_items_done 0\n" in text
