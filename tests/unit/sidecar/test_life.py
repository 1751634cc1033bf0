from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)
from resumable_sweep.contract.report import Answer, Experiment, Report, Stage
from sweep_sidecar.mirror.life import MirrorLife
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.push import Pusher, ReportNumbers
from sweep_sidecar.restore import restored_attempt
from sweep_sidecar.settings import AttemptSettings
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.whole_life import ask

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


class Pod:
    """One pod whose experiment writes `out.bin`, and a mirror in threads of this process."""

    def __init__(self, folder: Path, *, operator: FakeOperator | None, stop_path: str = "/stop/x") -> None:
        self.store = MemoryStore()
        self.operator = operator
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

    def end(self) -> Report:
        signal.pthread_kill(self._thread.ident or 0, END)
        self._thread.join(30)
        assert isinstance(self.outcome, Report), self.outcome
        return self.outcome

    def close(self) -> None:
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident or 0, END)
            self._thread.join(30)
        self.life.server.stop()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [END])
        try:
            self.outcome = self.life.run([END])
        except BaseException as error:
            self.outcome = error


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
    report = pod.end()
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
    assert pod.end().stage is Stage.SEALED


def test_without_a_stop_hook_or_an_operator_no_exit_proves_anything(start: Callable[..., Pod]) -> None:
    operator = FakeOperator()
    operator.experiment = lambda asked: Experiment.SUCCEEDED
    pod = start(operator, stop_path="")
    pod.write(b"done")
    assert pod.end().stage is Stage.SEALED


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
    while operator.told[-1].problem != "StoreUnreachable":
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
