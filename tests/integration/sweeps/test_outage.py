"""The API server is away for a time: the operator waits without a restart and without haste, and then goes on."""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.conftest import establish_definition
from integration.sweeps.api_server import ApiServer
from integration.sweeps.door import Door
from integration.sweeps.operator_process import OperatorProcess
from rig.api import Api, ApiError, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.api import GROUP, PLURAL

pytestmark = pytest.mark.integration

SHORT, LONG = 25, 600
# Nobody renews the node's heartbeat here. Kubernetes' own controllers must not take the pods for that.
PATIENT = {
    "spec": {
        "containers": [{"name": "main", "image": "main:test"}],
        "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
    }
}
MOST_KNOCKS_A_SECOND = 4.0
SECONDS_TO_GO_ON = 30
WAYS = {"frozen": (ApiServer.freeze, ApiServer.thaw), "killed": (ApiServer.kill, ApiServer.start)}


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """One of this module's own: no other test's may go away."""
    with ControlPlane(controllers=True) as running:
        establish_definition(running.api)
        yield running


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Api:
    return control_plane.api


@pytest.fixture(scope="module")
def api_server(control_plane: ControlPlane) -> Iterator[ApiServer]:
    server = ApiServer(control_plane)
    yield server
    server.close()


@pytest.fixture(scope="module")
def door(control_plane: ControlPlane) -> Iterator[Door]:
    with Door(control_plane.layout.api_port) as between:
        yield between


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, door: Door, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("operator")
    process = OperatorProcess(door.kubeconfig(control_plane.kubeconfig, folder), folder / "log")
    process.start()
    yield process
    assert process.end(signal.SIGTERM) == 0


def is_alive(operator: OperatorProcess) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/healthz", timeout=10) as answer:
        return bool(answer.status == 200) and operator.process.poll() is None


def pass_time(seconds: float, operator: OperatorProcess) -> None:
    """Wait, and look every now and then whether the operator still lives."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        assert is_alive(operator), operator.log()[-3000:]
        time.sleep(min(5.0, left))


def test_a_definition_that_goes_and_comes_back_is_waited_for(stage: Any, api: Api, operator: OperatorProcess) -> None:
    definition = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
    pid = operator.process.pid
    stage.apply(shards=1)
    stage.wait(lambda: stage.pods("resolve"), "the resolve pod")
    api.delete(definition)

    def define() -> bool:
        try:
            establish_definition(api)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    wait_until(lambda: "could not be listed" in operator.log(), what="the operator to miss the definition", seconds=120)
    wait_until(define, what="the definition to be made anew", seconds=60)

    def applied() -> bool:
        try:
            stage.apply(shards=1)
        except ApiError as error:
            if error.status in (404, 409, 429):
                return False
            raise
        return True

    wait_until(applied, what="a sweep to be taken again", seconds=60)
    uid = api.get(f"{stage.sweeps}/lr")["metadata"]["uid"]
    stage.wait(
        lambda: [pod for pod in stage.pods("resolve") if pod["metadata"]["labels"]["resumable.dev/sweep-uid"] == uid],
        "the new sweep to be looked at",
        seconds=120,
    )
    assert operator.process.pid == pid
    assert is_alive(operator)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [SHORT, pytest.param(LONG, marks=pytest.mark.matrix)])
@pytest.mark.parametrize("way", WAYS)
def test_an_outage_is_waited_out(
    way: str,
    seconds: int,
    stage: Any,
    node: Callable[[str], Any],
    operator: OperatorProcess,
    door: Door,
    api_server: ApiServer,
    record_property: Callable[[str, object], None],
) -> None:
    node("stable")
    stage.apply(template=PATIENT, reclaim={"unreachableAfter": "1h"})
    stage.resolve()
    first, second = stage.wait_for_attempts(0, 1)
    for pod in (first, second):
        stage.place(pod, "stable")
    stage.wait(lambda: stage.status().get("running") == 2 and stage.status().get("nodes"), "both to run")
    pid = operator.process.pid
    go, come_back = WAYS[way]
    go(api_server)
    # What is on its way ends in errors first.
    pass_time(5, operator)
    knocks, since = door.knocks, time.monotonic()
    pass_time(seconds - 5, operator)
    rate = (door.knocks - knocks) / (time.monotonic() - since)
    complaints = operator.complaints()
    door.shut()
    come_back(api_server)
    # The operator sees nothing yet: this pod is lost in the outage.
    stage.api.delete(f"{stage.pods_path}/{first['metadata']['name']}", {"gracePeriodSeconds": 0})
    door.open()
    since = time.monotonic()
    lives = stage.wait(
        lambda: [pod for pod in stage.live() if pod["metadata"]["labels"]["resumable.dev/shard"] == "0"],
        "the pod that was lost to be replaced",
        seconds=120,
    )
    went_on = time.monotonic() - since
    assert [pod["metadata"]["labels"]["resumable.dev/attempt"] for pod in lives] == ["3"]
    assert second["metadata"]["uid"] in [pod["metadata"]["uid"] for pod in stage.live()], operator.log()[-3000:]
    # Its watch of the sweeps lives, too.
    since = time.monotonic()
    stage.change(suspend=True)
    stage.wait(lambda: not stage.live(), "the sweep to be suspended", seconds=120)
    record_property("knocks a second", rate)
    record_property("seconds until the lost pod was replaced", went_on)
    record_property("seconds until a change was heeded", time.monotonic() - since)
    assert rate < MOST_KNOCKS_A_SECOND
    assert went_on < SECONDS_TO_GO_ON
    wait_until(lambda: operator.complaints() == "", what="the operator to be ready again", seconds=120)
    assert operator.process.pid == pid
    assert is_alive(operator)
    if seconds == LONG:
        assert "the API server has been silent about /api/v1/nodes for" in complaints
    assert stage.status()["reclaims"] == 1
