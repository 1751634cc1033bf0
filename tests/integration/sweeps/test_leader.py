"""Two operators, of which one decides: it is killed, asked to end, frozen and cut off, on a real API server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from integration.sweeps.door import Door
from integration.sweeps.operator_process import OperatorProcess
from resumable_sweep.contract.report import Stage
from rig.api import Api, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.__main__ import LOST
from sweep_operator.runtime.election import LEASE_SECONDS, RENEW_DEADLINE_SECONDS

pytestmark = pytest.mark.integration

LEASE = "default/operators"
PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/operators"
NAMES = ("first", "second")


class Operators:
    """Two of them, each behind a door of its own to the API server."""

    def __init__(self, control_plane: ControlPlane, folder: Path, doors: ExitStack) -> None:
        self._api = control_plane.api
        self.doors: dict[str, Door] = {}
        self.all: dict[str, OperatorProcess] = {}
        for name in NAMES:
            door = self.doors[name] = doors.enter_context(Door(control_plane.layout.api_port))
            own = folder / name
            own.mkdir()
            self.all[name] = OperatorProcess(
                door.kubeconfig(control_plane.kubeconfig, own),
                own / "log",
                RSWEEP_LEASE=LEASE,
                RSWEEP_POD_NAME=name,
                RSWEEP_POD_IP="127.0.0.1",
            )

    def start(self) -> None:
        for operator in self.all.values():
            operator.start()
        wait_until(lambda: bool(self.holder()), what="one of them to decide", seconds=30)

    def holder(self) -> str:
        path, _, name = PATH.rpartition("/")
        holders = [
            lease["spec"].get("holderIdentity") or ""
            for lease in self._api.get(path)["items"]
            if lease["metadata"]["name"] == name
        ]
        return str(*holders)

    @property
    def leader(self) -> OperatorProcess:
        return self.all[self.holder()]

    @property
    def other(self) -> OperatorProcess:
        return self.all[self.other_name]

    @property
    def other_name(self) -> str:
        return next(name for name in NAMES if name != self.holder())

    def await_holder(self, name: str, *, since: float) -> float:
        """Wait until an operator holds the Lease, and return how long that took."""
        wait_until(lambda: self.holder() == name, what=f"{name} to decide", seconds=30, every=0.02)
        return time.monotonic() - since

    def log(self) -> str:
        return "\n".join(f"{name}: {operator.log()[-3000:]}" for name, operator in self.all.items())


@pytest.fixture
def operators(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Operators]:
    with ExitStack() as doors:
        pair = Operators(control_plane, tmp_path, doors)
        pair.start()
        yield pair
        for operator in pair.all.values():
            if operator.process.poll() is None:
                operator.process.send_signal(signal.SIGCONT)
                assert operator.end(signal.SIGTERM) == 0
    control_plane.api.delete(PATH)


@pytest.fixture
def operator(operators: Operators) -> Operators:
    """What the stage is set up beside."""
    return operators


@pytest.fixture
def play(stage: Any, node: Callable[[str], Any]) -> dict[str, Any]:
    """A sweep of one shard whose first attempt runs; its pod is returned."""
    node("stable")
    stage.apply(shards=1)
    stage.resolve()
    pod: dict[str, Any] = stage.wait_for_attempts(0)[0]
    stage.place(pod, "stable")
    stage.wait(lambda: stage.status().get("running") == 1 and stage.status().get("nodes"), "the pod to run")
    return pod


def lose(stage: Any, pod: dict[str, Any]) -> None:
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})


def assert_relaunched_once(stage: Any, operators: Operators) -> dict[str, Any]:
    (pod,) = stage.wait_for_attempts(0)
    assert stage.status()["reclaims"] == 1, operators.log()
    assert stage.status()["lastReclaim"]["signal"] == "PodVanished"
    found: dict[str, Any] = pod
    return found


def test_both_are_ready_and_one_decides(operators: Operators, stage: Any, play: dict[str, Any]) -> None:
    leader, other = operators.leader, operators.other
    assert (leader.leads(), other.leads()) == (True, False)
    assert (leader.complaints(), other.complaints()) == ("", "")
    # A report that reaches the one which stands in is heard by the one that decides.
    report = stage.report(play, stage=Stage.MIRRORING, items_done=5, items_total=12)
    code, answer = other.push(stage.token_of(play), report)
    assert code == 200, operators.log()
    assert answer["may_take"]
    stage.wait(lambda: stage.status().get("done") == 5, "what was reported to count", seconds=60)
    assert 'resumable_sweep_reconciles_total{result="done"} 0.0' in other.metrics()


def test_a_killed_leader_is_replaced(
    operators: Operators, stage: Any, play: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    name, leader = operators.other_name, operators.leader
    leader.end(signal.SIGKILL)
    since = time.monotonic()
    lose(stage, play)
    took = operators.await_holder(name, since=since)
    pod = assert_relaunched_once(stage, operators)
    record_property("seconds until the Lease changed hands", took)
    record_property("seconds until the lost pod was replaced", time.monotonic() - since)
    assert took <= LEASE_SECONDS + 3
    # Whoever comes back stands in, and the report that nobody took is taken when it is repeated.
    leader.start()
    assert (operators.holder(), leader.leads()) == (name, False)
    token = stage.token_of(pod)
    assert leader.push(token, stage.report(pod, items_done=3, items_total=12))[0] == 200


def test_a_leader_that_is_asked_to_end_hands_over(
    operators: Operators, stage: Any, play: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    name, leader = operators.other_name, operators.leader
    since = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    took = operators.await_holder(name, since=since)
    assert leader.process.wait(30) == 0
    ended = time.monotonic() - since
    lose(stage, play)
    assert_relaunched_once(stage, operators)
    record_property("seconds until it had ended", ended)
    record_property("seconds until the Lease changed hands", took)
    assert took < LEASE_SECONDS / 2, "it was given back, and had not to run out"
    assert ended < 5


def test_a_frozen_leader_ends_when_it_wakes(operators: Operators, stage: Any, play: dict[str, Any]) -> None:
    name, leader = operators.other_name, operators.leader
    leader.process.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    lose(stage, play)
    assert operators.await_holder(name, since=since) >= LEASE_SECONDS - RENEW_DEADLINE_SECONDS
    assert_relaunched_once(stage, operators)
    leader.process.send_signal(signal.SIGCONT)
    assert leader.process.wait(10) == LOST, operators.log()
    assert "ending, so that two never decide at once" in leader.log()
    assert operators.holder() == name
    assert len(stage.live()) == 1
    assert stage.status()["attempts"] == 2


def test_a_leader_that_is_cut_off_has_ended_before_the_next_one_begins(
    operators: Operators, stage: Any, play: dict[str, Any]
) -> None:
    name, leader = operators.other_name, operators.leader
    operators.doors[operators.holder()].shut()
    since = time.monotonic()
    lose(stage, play)
    assert leader.process.wait(30) == LOST, operators.log()
    ended = time.monotonic() - since
    assert operators.holder() != name, "nobody decides before the last one has ended"
    assert operators.await_holder(name, since=since) > ended
    assert_relaunched_once(stage, operators)


def test_a_lease_that_cannot_be_written_is_told(control_plane: ControlPlane, api: Api, tmp_path: Path) -> None:
    operator = OperatorProcess(
        control_plane.kubeconfig,
        tmp_path / "log",
        RSWEEP_LEASE="nowhere/operators",
        RSWEEP_POD_NAME="lost",
        RSWEEP_POD_IP="127.0.0.1",
    )
    operator.start()
    wait_until(
        lambda: (
            "the Lease /apis/coordination.k8s.io/v1/namespaces/nowhere/leases/operators has not been readable and "
            "writable for" in operator.complaints()
        ),
        what="it to say that it cannot stand",
        seconds=60,
    )
    assert not operator.leads()
    assert operator.end(signal.SIGTERM) == 0
