"""The testbed itself: what it makes is real, what it takes away is gone, and nothing outlives `down`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig import cleanup, images, metadata, network, pause, processes
from rig.api import Api, ApiError, wait_until
from rig.binaries import binary
from rig.cgroups import hierarchies
from rig.cluster import Testbed
from rig.errors import RigError
from rig.progress import keep_quiet
from rig.reclaim import How
from rig.state import State, cgroup

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and cgroups need root"),
]

_COMMAND = Path(__file__).resolve().parents[1] / "testbed" / "testbed"


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    testbed = Testbed(tmp_path_factory.mktemp("testbed") / "cluster", report=keep_quiet)
    try:
        testbed.up(nodes=2, spot=1, gpus=2)
        yield testbed
    finally:
        testbed.down()
    assert cleanup.leftovers(testbed.state) == []


@pytest.fixture
def run_pod(testbed: Testbed) -> Iterator[Callable[[str], str]]:
    """Run a pod on a node and wait until it is Running; returns its name. It ends within a second when asked to."""
    made: list[str] = []

    def run(node: str) -> str:
        name = f"on-{node}"
        image = pause.reference(binary("pause"))
        testbed.api.create(
            "/api/v1/namespaces/default/pods",
            {
                "metadata": {"name": name},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "tolerations": [{"operator": "Exists"}],
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{"name": "pause", "image": image}],
                },
            },
        )
        made.append(name)
        wait_until(lambda: _pod(testbed.api, name)["status"]["phase"] == "Running", what=f"pod {name}", seconds=60)
        return name

    yield run
    for name in made:
        path = f"/api/v1/namespaces/default/pods/{name}"
        testbed.api.delete(path, {"gracePeriodSeconds": 0})


def test_nodes_look_like_those_of_a_cloud(testbed: Testbed) -> None:
    spot, plain = _node(testbed.api, "spot-1"), _node(testbed.api, "node-1")

    assert spot["metadata"]["labels"]["cloud.google.com/gke-spot"] == "true"
    assert spot["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert {taint["key"] for taint in spot["spec"]["taints"]} == {"cloud.google.com/gke-spot", "nvidia.com/gpu"}
    assert "cloud.google.com/gke-spot" not in plain["metadata"]["labels"]
    assert "nvidia.com/gpu" not in plain["status"]["allocatable"]
    assert "taints" not in plain["spec"]


def _first_processes(testbed: Testbed) -> dict[str, int | None]:
    directory = testbed.state.directory
    return {name: processes.first_of(directory, name) for name in set(processes.of_cluster(directory).values())}


def test_up_again_changes_nothing(testbed: Testbed) -> None:
    # Of the others some come and go by themselves: containerd and the kubelet call small programs now and then.
    before = _first_processes(testbed)
    uids = [node["uid"] for node in testbed.status()["nodes"]]

    testbed.up(nodes=2, spot=1, gpus=2)

    assert _first_processes(testbed) == before
    assert [node["uid"] for node in testbed.status()["nodes"]] == uids


def test_cluster_dns_answers_for_services(testbed: Testbed) -> None:
    addresses = testbed.state.addresses

    answer = _resolve("kubernetes.default.svc.cluster.local", server=addresses.control_plane)

    assert answer == addresses.first_service


def test_logs_and_exec_reach_the_kubelet(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    name = run_pod("node-1")

    assert testbed.api.get(f"/api/v1/namespaces/default/pods/{name}/log") == ""
    done = subprocess.run(
        [binary("kubectl"), f"--kubeconfig={testbed.kubeconfig}", "exec", name, "--", "/no-such-program"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no such file or directory" in done.stderr


def test_built_image_runs_and_serves_through_a_service(testbed: Testbed, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE=python:3.13-slim\nFROM ${BASE}\nCOPY page.txt /page.txt\nUSER 65532:65532\n"
        'ENTRYPOINT ["python3", "-m", "http.server", "8000"]\n'
    )
    page = tmp_path / "page.txt"
    image = images.Image(name="page", dockerfile=tmp_path / "Dockerfile", context=tmp_path)
    page.write_text("old")
    old = images.push([image], registry_address=testbed.registry_address, report=keep_quiet)["page"]
    page.write_text("new")
    new = images.push([image], registry_address=testbed.registry_address, report=keep_quiet)["page"]
    assert old.reference != new.reference

    core = "/api/v1/namespaces/default"
    labels = {"app": "page"}
    containers = [{"name": "page", "image": new.reference}]
    spec = {"containers": containers, "terminationGracePeriodSeconds": 0}
    testbed.api.create(f"{core}/pods", {"metadata": {"name": "page", "labels": labels}, "spec": spec})
    ports = [{"port": 80, "targetPort": 8000}]
    service = testbed.api.create(
        f"{core}/services",
        {"metadata": {"name": "page"}, "spec": {"type": "NodePort", "selector": labels, "ports": ports}},
    )
    try:
        # Through the node that the pod is not on: it is on the plain one.
        spot = next(spec for spec in testbed.state.nodes() if spec.name == "spot-1")
        address = testbed.state.addresses.node(spot.number)
        url = f"http://{address}:{service['spec']['ports'][0]['nodePort']}/page.txt"
        wait_until(lambda: _page(url) == "new", what=f"{url} to serve what was built", seconds=60)
        found = _resolve("page.default.svc.cluster.local", server=testbed.state.addresses.control_plane)
        assert found == service["spec"]["clusterIP"]
    finally:
        testbed.api.delete(f"{core}/pods/page")
        testbed.api.delete(f"{core}/services/page")


def test_killed_node_falls_silent_and_is_deleted_after_the_delay(
    testbed: Testbed, run_pod: Callable[[str], str]
) -> None:
    testbed.add("killed", gpus=1)
    name = run_pod("killed")

    done = testbed.reclaim("killed", how="kill", node_delete_after=3)

    node, pod = _node(testbed.api, "killed"), _pod(testbed.api, name)
    assert node["metadata"]["uid"] == done.uid
    assert pod["status"]["phase"] == "Running"
    assert "deletionTimestamp" not in pod["metadata"]
    assert processes.first_of(testbed.state.directory, "killed") is None
    _wait_for_end_of(testbed, "killed")
    assert time.time() - done.at >= 3


def test_node_that_shuts_down_ends_its_pods_first(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    testbed.add("stopped", gpus=1)
    name = run_pod("stopped")

    testbed.reclaim("stopped", how="shutdown", node_delete_after=2)

    wait_until(
        lambda: "shutting down" in _condition(_node(testbed.api, "stopped"), "Ready")["message"],
        what="the node to say that it is shutting down",
        seconds=10,
        every=0.05,
    )
    wait_until(
        lambda: _condition(_pod(testbed.api, name), "DisruptionTarget").get("reason") == "TerminationByKubelet",
        what="the kubelet to publish the pod's end",
        seconds=20,
        every=0.05,
    )
    assert "deletionTimestamp" not in _pod(testbed.api, name)["metadata"]
    _wait_for_end_of(testbed, "stopped")


def test_pods_of_a_node_and_nobody_else_hear_what_its_cloud_announces(
    testbed: Testbed, run_pod: Callable[[str], str]
) -> None:
    for node in ("spot-1", "node-1"):
        run_pod(node)
    there, elsewhere = (_process_in_pod(testbed, node) for node in ("spot-1", "node-1"))
    assert (_preempted(there), _preempted(elsewhere)) == ("FALSE", "FALSE")

    testbed.announce("spot-1", then="nothing", after=3)

    assert (_preempted(there), _preempted(elsewhere)) == ("TRUE", "FALSE")
    wait_until(lambda: _preempted(there) == "FALSE", what="the notice to be withdrawn", seconds=20)


def test_node_of_another_cloud_loses_power_as_announced(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    testbed.add("announced", gpus=1, cloud="azure")
    run_pod("announced")
    pod = _process_in_pod(testbed, "announced")
    headers = {"Metadata": "true"}
    assert _metadata(pod, "metadata/instance/compute/name?api-version=2021-02-01&format=text", headers) == "announced"

    done = testbed.announce("announced", then="kill", after=2, node_delete_after=1)

    events = json.loads(_metadata(pod, "metadata/scheduledevents?api-version=2020-07-01", headers))["Events"]
    assert ["announced"] in [event["Resources"] for event in events if event["EventType"] == "Preempt"]
    _wait_for_end_of(testbed, "announced")
    assert time.time() - done.at >= 3


def test_drained_node_stays_without_pods(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    testbed.add("drained", gpus=1)
    name = run_pod("drained")

    testbed.reclaim("drained", how="drain")

    assert _is_gone(testbed.api, f"/api/v1/namespaces/default/pods/{name}")
    node = _node(testbed.api, "drained")
    assert node["spec"]["unschedulable"] is True
    assert _condition(node, "Ready")["status"] == "True"


def test_deleted_node_is_gone_at_once(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    testbed.add("deleted", gpus=1)
    name = run_pod("deleted")

    testbed.reclaim("deleted", how="delete")

    assert _is_gone(testbed.api, "/api/v1/nodes/deleted")
    assert "deleted" not in {spec.name for spec in testbed.state.nodes()}
    assert _pod(testbed.api, name)["status"]["phase"] == "Running"  # until the garbage collector comes round


def test_reclaimed_pod_is_deleted_raw(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    name = run_pod("node-1")

    testbed.reclaim_pod(name)

    wait_until(
        lambda: _is_gone(testbed.api, f"/api/v1/namespaces/default/pods/{name}"), what="the pod to go", seconds=20
    )


def test_up_brings_back_a_node_that_was_lost_as_another_incarnation(testbed: Testbed) -> None:
    before = _node(testbed.api, "spot-1")["metadata"]["uid"]
    testbed.reclaim("spot-1", how="kill", node_delete_after=60)

    testbed.up(nodes=2, spot=1, gpus=2)

    node = _node(testbed.api, "spot-1")
    assert node["metadata"]["uid"] != before
    assert _condition(node, "Ready")["status"] == "True"


def test_partitioned_node_falls_silent_while_its_pods_go_on(testbed: Testbed, run_pod: Callable[[str], str]) -> None:
    testbed.add("cut-off", gpus=1)
    name = run_pod("cut-off")
    before = _process_in_pod(testbed, "cut-off")

    testbed.reclaim("cut-off", how="partition")

    with pytest.raises(RigError, match="'cut-off' is cut off already; `testbed heal cut-off`"):
        testbed.reclaim("cut-off", how="partition")
    wait_until(
        lambda: _condition(_node(testbed.api, "cut-off"), "Ready")["status"] == "Unknown",
        what="the node to fall silent",
        seconds=60,
    )
    assert _process_in_pod(testbed, "cut-off") == before
    assert _pod(testbed.api, name)["status"]["phase"] == "Running"

    testbed.heal("cut-off")

    wait_until(
        lambda: _condition(_node(testbed.api, "cut-off"), "Ready")["status"] == "True",
        what="the node to answer again",
        seconds=60,
    )
    assert _process_in_pod(testbed, "cut-off") == before
    with pytest.raises(RigError, match="'cut-off' is connected"):
        testbed.heal("cut-off")


def test_replaced_node_is_another_machine_of_the_same_name(testbed: Testbed) -> None:
    testbed.add("replaced", gpus=1, cloud="ec2")
    before = _node(testbed.api, "replaced")
    testbed.reclaim("replaced", how="delete")

    testbed.replace("replaced")

    after = _node(testbed.api, "replaced")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["nodeInfo"]["bootID"] != before["status"]["nodeInfo"]["bootID"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert [spec.cloud for spec in testbed.state.nodes() if spec.name == "replaced"] == ["ec2"]
    with pytest.raises(RigError, match="--cloud gce: the metadata server of replaced is that of ec2"):
        testbed.announce("replaced", cloud="gce")


def test_fast_replacement_takes_over_the_node_object(testbed: Testbed) -> None:
    testbed.add("taken-over", gpus=1)
    before = _node(testbed.api, "taken-over")
    testbed.reclaim("taken-over", how="kill", node_delete_after=5)

    testbed.replace("taken-over", keep_object=True)

    after = _node(testbed.api, "taken-over")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["nodeInfo"]["bootID"] != before["status"]["nodeInfo"]["bootID"]


def test_rebooted_node_keeps_its_disk_and_its_object(testbed: Testbed) -> None:
    testbed.add("rebooted", gpus=1)
    before = _node(testbed.api, "rebooted")
    spec = next(spec for spec in testbed.state.nodes() if spec.name == "rebooted")
    kept = testbed.state.machines / "rebooted" / "lib" / "kept"
    kept.write_text("x")

    testbed.reboot("rebooted")

    after = _node(testbed.api, "rebooted")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["nodeInfo"]["bootID"] != before["status"]["nodeInfo"]["bootID"]
    assert kept.read_text() == "x"
    assert spec in testbed.state.nodes()


def test_node_that_never_was_is_not_replaced(testbed: Testbed) -> None:
    with pytest.raises(RigError, match="there never was a node 'spot-98'"):
        testbed.replace("spot-98")


@pytest.mark.parametrize("how", ["kill", "drain"])
def test_unknown_node_is_named_with_those_there_are(testbed: Testbed, how: How) -> None:
    with pytest.raises(RigError, match=r"no node 'spot-99'.*spot-1"):
        testbed.reclaim("spot-99", how=how)


def _has_claim(state: State) -> bool:
    return state.index() is not None


def _has_namespaces(state: State) -> bool:
    index = state.index()
    return index is not None and bool(network.namespaces(index))


def _has_a_node(state: State) -> bool:
    return any(name == "spot-1" for name in processes.of_cluster(state.directory).values())


@pytest.mark.parametrize("moment", [_has_claim, _has_namespaces, _has_a_node])
def test_down_removes_what_a_killed_up_left(tmp_path: Path, moment: Callable[[State], bool]) -> None:
    state = State.at(tmp_path / "cluster")
    command = [sys.executable, "-m", "rig.cli", "--state", str(state.directory)]
    environment = {**os.environ, "PYTHONPATH": str(_COMMAND.parent)}
    up = subprocess.Popen([*command, "up", "--nodes", "2", "--spot", "1"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: moment(state), what="the moment to kill at", seconds=60, every=0.002)
        up.send_signal(signal.SIGKILL)
    finally:
        up.kill()
        up.wait()
        index = state.index()
        down = subprocess.run(
            [_COMMAND, "--state", state.directory, "down"], capture_output=True, text=True, check=False
        )

    assert down.returncode == 0, down.stderr
    assert index is not None
    assert cleanup.leftovers(state) == []
    assert network.namespaces(index) == []
    assert not network.has_host_link(index)
    assert not [root for root in hierarchies() if (root / cgroup(index)).exists()]
    assert not processes.of_cluster(state.directory)
    assert not state.directory.exists()
    assert state.index() is None


def _process_in_pod(testbed: Testbed, node: str) -> int:
    """Return a process in the pod that `run_pod` runs on a node."""
    group = f"/{cgroup(testbed.state.addresses.index, node)}/"
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            is_there = group in (directory / "cgroup").read_text()
            if is_there and (directory / "comm").read_text().strip() == "pause":
                return int(directory.name)
    raise AssertionError(f"no pod runs on {node}")


def _metadata(pid: int, path: str, headers: dict[str, str]) -> str:
    """Return what the metadata server answers to a process of that network."""
    ask = (
        "import json, sys, urllib.request as u; url, headers = sys.argv[1], json.loads(sys.argv[2]);"
        "opener = u.build_opener(u.ProxyHandler({}));"
        "print(opener.open(u.Request(url, headers=headers), timeout=5).read().decode())"
    )
    words = [f"http://{metadata.ADDRESS}/{path}", json.dumps(headers)]
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", sys.executable, "-c", ask, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _preempted(pid: int) -> str:
    return _metadata(pid, "computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})


def _page(url: str) -> str:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _node(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/nodes/{name}")
    return found


def _pod(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/namespaces/default/pods/{name}")
    return found


def _condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    found = [each for each in item["status"].get("conditions", []) if each["type"] == kind]
    return found[0] if found else {}


def _is_gone(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except ApiError as error:
        return error.status == 404
    return False


def _wait_for_end_of(testbed: Testbed, node: str) -> None:
    index = testbed.state.addresses.index
    wait_until(lambda: _is_gone(testbed.api, f"/api/v1/nodes/{node}"), what=f"Node {node} to be deleted", seconds=60)
    assert node not in {spec.name for spec in testbed.state.nodes()}
    assert not [name for name in network.namespaces(index) if name.endswith(node)]
    assert not [root for root in hierarchies() if (root / cgroup(index, node)).exists()]


def _resolve(name: str, *, server: str) -> str:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", 1, 1)  # the address of the name, on the Internet
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question, (server, 53))
        answer = sock.recv(512)
    return socket.inet_ntoa(answer[-4:])  # one answer of one record, whose last four bytes are the address
