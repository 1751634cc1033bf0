"""The player, around the operator as it is: sweeps lose attempts in every way and come to the same results."""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fire.api import KeptApi
from fire.cluster import make_namespace
from fire.operator_host import OperatorHost
from fire.operator_process import OperatorProcess
from fire.player import How, Player
from fire.sweep import ITEMS, Sweep
from rig.api import Api
from rig.control_plane import ControlPlane

_namespaces = itertools.count(1)


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, host: OperatorHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("operator") / "log"
    process = OperatorProcess(host, kubeconfig=control_plane.kubeconfig, log=log, port=port, namespaces=())
    process.start()
    process.wait_ready()
    yield process
    assert process.end() == 0, "the operator must end cleanly when asked to"


@pytest.fixture
def sweep(control_plane: ControlPlane, api: Api, player: Player, operator: OperatorProcess) -> Iterator[Sweep]:
    namespace = f"played-{next(_namespaces)}"
    make_namespace(api, namespace)
    player.play(namespace)
    with closing(KeptApi(control_plane.kubeconfig)) as asked:
        yield Sweep(asked, namespace, clue=lambda: f"{player.wrong(namespace)} {operator.log()}")
    assert [*player.wrong(namespace), *player.beside(namespace)] == []


def results(sweep: Sweep) -> list[str]:
    """Return the merged results, once they are known to be what the status says."""
    sweep.wait(lambda: sweep.status().get("phase") == "Complete", "the end")
    said = sweep.status()["merged"]
    content = Path(said["url"].removeprefix("file://")).read_bytes()
    assert hashlib.sha256(content).hexdigest() == said["sha256"]
    return content.decode().splitlines()


def test_a_sweep_to_which_nothing_happens_is_merged_and_leaves_nothing(sweep: Sweep, player: Player) -> None:
    sweep.apply()
    assert len(results(sweep)) == ITEMS
    assert sorted(made.attempt for made in player.made(sweep.namespace)) == [1, 2]
    sweep.delete()


@pytest.mark.parametrize("how", ["node", "shutdown", "delete", "evict"])
def test_what_is_lost_is_counted_as_a_reclaim_and_goes_on_elsewhere(sweep: Sweep, player: Player, how: How) -> None:
    player.hold(sweep.namespace, 0, items=1)
    sweep.apply()
    sweep.wait(lambda: player.holds(sweep.namespace, 0), "shard 0 to stand still")
    lost = player.lose(sweep.namespace, 0, how=how)
    sweep.wait(lambda: player.holds(sweep.namespace, 0) != lost, "the lost attempt to end")
    player.release(sweep.namespace, 0)
    assert len(results(sweep)) == ITEMS
    status = sweep.status()
    assert (status["reclaims"], status["lastReclaim"]["attempt"]) == (1, lost)
    sweep.delete()


@pytest.mark.parametrize("completion", ["ExitCode", "Recorded"])
def test_items_that_nobody_names_are_done_too(sweep: Sweep, completion: str) -> None:
    sweep.apply(items=None, completion=completion)
    assert len(results(sweep)) == ITEMS


def test_what_is_held_back_gets_no_machine(sweep: Sweep, player: Player, api: Api) -> None:
    player.hold_back(sweep.namespace, "merge")
    sweep.apply()
    sweep.wait(lambda: sweep.status().get("phase") == "Merging", "the merge")
    selector = "labelSelector=resumable.dev%2Frole%3Dmerge"
    pods = f"/api/v1/namespaces/{sweep.namespace}/pods?{selector}"
    sweep.wait(lambda: api.get(pods)["items"], "the pod that merges")
    assert [pod["spec"].get("nodeName") for pod in api.get(pods)["items"]] == [None]
    player.let_through(sweep.namespace, "merge")
    assert len(results(sweep)) == ITEMS
