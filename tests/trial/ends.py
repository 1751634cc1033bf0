"""Record what real kubelets publish of every way in which a pod ends: the fixtures of the classification's tests.

All scenarios run at once in a cluster of their own, most of them on a node of their own, before one recorder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rig import Testbed, processes
from rig.api import wait_until
from rig.reclaim import How
from rig.recording import Recorder

Json = dict[str, Any]

_SECONDS = 240
_SHARED = "shared"
_NAMESPACE = "/api/v1/namespaces/default"
_FOREVER = "import signal, sys; signal.signal(15, lambda *_: sys.exit({code})); signal.pause()"
_ENDS_143, _ENDS_0 = _FOREVER.format(code=143), _FOREVER.format(code=0)
_ENDS_137 = "import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A pod, and what is done to it or its node once it runs; `strike` is None where the pod ends by itself.

    `program` is Python. `main` and `spec` change the container and the pod. Pods of scenarios with the same `node`
    share it, and what strikes one of them strikes all, but for the node that is `shared`.
    """

    program: str = _ENDS_143
    node: str = _SHARED
    strike: Callable[[Testbed, str], None] | None = None
    main: Json = field(default_factory=dict)
    spec: Json = field(default_factory=dict)


def _reclaim(how: How, *, node_delete_after: float = 10.0) -> Callable[[Testbed, str], None]:
    def strike(testbed: Testbed, node: str) -> None:
        testbed.reclaim(node, how=how, node_delete_after=node_delete_after)

    return strike


def _partition(testbed: Testbed, node: str) -> None:
    testbed.reclaim(node, how="partition")
    time.sleep(110)  # until after the minute for which it may be silent
    testbed.heal(node)


def _replace(*, keep_object: bool, node_delete_after: float = 30) -> Callable[[Testbed, str], None]:
    def strike(testbed: Testbed, node: str) -> None:
        testbed.reclaim(node, how="kill", node_delete_after=node_delete_after)
        testbed.replace(node, keep_object=keep_object)

    return strike


def _taint(testbed: Testbed, node: str) -> None:
    taint = {"key": "example.com/maintenance", "effect": "NoExecute"}
    testbed.api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [taint]}})


def _out_of_service(testbed: Testbed, node: str) -> None:
    testbed.reclaim(node, how="kill", node_delete_after=3600)
    path = f"/api/v1/nodes/{node}"
    wait_until(lambda: _ready(testbed.api.get(path)) == "Unknown", what=f"{node} to be missed", seconds=60)
    taints = testbed.api.get(path)["spec"].get("taints", [])
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    testbed.api.patch(path, {"spec": {"taints": [*taints, taint]}})


def _preempt(testbed: Testbed, node: str) -> None:
    urgent = {"metadata": {"name": "urgent"}, "value": 1000, "description": "takes the place of others"}
    testbed.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", urgent)
    spec = {"priorityClassName": "urgent", "containers": [_half_a_node("urgent")]}
    _create_pod(testbed, "urgent", node, spec)


def _restart_kubelet(testbed: Testbed, node: str) -> None:
    for pid, machine in processes.of_cluster(testbed.state.directory).items():
        if machine == node and Path(f"/proc/{pid}/comm").read_text().strip() == "kubelet":
            os.kill(pid, signal.SIGKILL)


def _notice(testbed: Testbed, node: str) -> None:
    testbed.announce(node, then="shutdown", after=10)


def _late(testbed: Testbed, node: str) -> None:
    testbed.reclaim(node, how="shutdown", node_delete_after=60)
    wait_until(lambda: _ready(testbed.api.get(f"/api/v1/nodes/{node}")) == "False", what="the shutdown", seconds=30)
    _create_pod(testbed, "refused-in-shutdown", "", {"nodeName": node, "containers": [_container("main", _ENDS_143)]})


def _delete_pod(testbed: Testbed, node: str) -> None:
    testbed.reclaim_pod("pod-deleted")


def _delete_slow_pod(testbed: Testbed, node: str) -> None:
    testbed.reclaim_pod("pod-deleted-exit-0")


def _container(name: str, program: str) -> Json:
    return {"name": name, "command": ["python3", "-c", program]}


def _half_a_node(name: str) -> Json:
    requests = {"cpu": f"{600 * (os.cpu_count() or 1)}m"}  # more than a half, so that there is no room for two
    return {**_container(name, _ENDS_143), "resources": {"requests": requests}}


_SCENARIOS: dict[str, Scenario] = {
    "kill": Scenario(node="kill", strike=_reclaim("kill")),
    "kill-node-kept": Scenario(node="kill-kept", strike=_reclaim("kill", node_delete_after=3600)),
    "out-of-service": Scenario(node="out-of-service", strike=_out_of_service),
    "shutdown": Scenario(node="shutdown", strike=_late),
    "shutdown-exit-0": Scenario(node="shutdown", program=_ENDS_0),
    "shutdown-exit-137": Scenario(node="shutdown", program=_ENDS_137),
    "notice": Scenario(node="notice", strike=_notice),
    "drain": Scenario(node="drain", strike=_reclaim("drain")),
    "drain-exit-0": Scenario(node="drain", program=_ENDS_0),
    "node-deleted": Scenario(node="deleted", strike=_reclaim("delete")),
    "partition": Scenario(node="partition", strike=_partition),
    "partition-evicted": Scenario(
        node="partition",
        spec={
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{key}",
                    "effect": "NoExecute",
                    "operator": "Exists",
                    "tolerationSeconds": 20,
                }
                for key in ("unreachable", "not-ready")
            ]
        },
    ),
    "replaced": Scenario(node="replaced", strike=_replace(keep_object=False)),
    "replaced-object-kept": Scenario(node="replaced-kept", strike=_replace(keep_object=True, node_delete_after=3600)),
    "rebooted": Scenario(node="rebooted", strike=lambda testbed, node: testbed.reboot(node)),
    "rebooted-while-restoring": Scenario(node="rebooted", spec={"restore": "import time; time.sleep(3600)"}),
    "tainted": Scenario(node="tainted", strike=_taint),
    "preempted": Scenario(node="preempted", strike=_preempt, main={"resources": _half_a_node("main")["resources"]}),
    "kubelet-restarted": Scenario(node="kubelet", strike=_restart_kubelet),
    "pod-deleted": Scenario(strike=_delete_pod),
    "pod-deleted-exit-0": Scenario(strike=_delete_slow_pod, program=_ENDS_0),
    "exit-0": Scenario(program="raise SystemExit(0)"),
    "exit-1": Scenario(program="raise SystemExit(1)"),
    "exit-137": Scenario(program="raise SystemExit(137)"),
    "out-of-memory": Scenario(
        program="held = [bytes(range(256)) * 4096 for _ in range(500)]",
        main={"resources": {"limits": {"memory": "48Mi"}}},
    ),
    "storage-limit": Scenario(
        program="open('/data/file', 'wb').write(bytes(32 << 20)); import time; time.sleep(3600)",
        main={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        spec={"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "8Mi"}}]},
    ),
    "deadline": Scenario(spec={"activeDeadlineSeconds": 75}),
    "start-error": Scenario(main={"command": ["/no-such-program"]}),
    "image-pull": Scenario(main={"image": "registry.testbed:5000/no-such-image:1"}),
    "secret-missing": Scenario(main={"envFrom": [{"secretRef": {"name": "no-such-secret"}}]}),
    "no-room": Scenario(main={"resources": {"requests": {"cpu": "1000"}}}, spec={"nodeName": _SHARED}),
    "restore-failed": Scenario(
        spec={
            "restore": "import sys; open('/dev/termination-log', 'w').write("
            """'{"reason":"StoreUnreachable","message":"no answer","details":{}}'); sys.exit(69)"""
        }
    ),
}
_ALSO = {"refused-in-shutdown": "shutdown"}
"""Pods that a strike makes, and their nodes."""


def main() -> None:
    """Make the recordings of the scenarios named, or of all, in a cluster that is there for it alone."""
    parser = argparse.ArgumentParser(prog="trial.ends", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the recordings go: NAME.json each")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios (default: all)")
    parser.add_argument("--seconds", type=int, default=_SECONDS, help="how long to record (default: %(default)s)")
    options = parser.parse_args()
    scenarios = {name: each for name, each in _SCENARIOS.items() if name in options.names or not options.names}
    testbed = Testbed(Path.home() / ".cache" / "resumable-sweep" / "testbed" / "ends")
    try:
        _record(testbed, scenarios, options.directory, seconds=options.seconds)
    finally:
        testbed.down()


def _record(testbed: Testbed, scenarios: dict[str, Scenario], directory: Path, *, seconds: int) -> None:
    testbed.up(nodes=0, spot=0)
    nodes = {each.node for each in scenarios.values()}
    with ThreadPoolExecutor(max_workers=3) as pool:
        list(pool.map(lambda node: testbed.add(node, spot=False, gpus=0), sorted(nodes)))
    _image(testbed)
    recorder = Recorder(testbed.api, seconds=seconds)
    for name, each in scenarios.items():
        container = {**_container("main", each.program), **each.main}
        _create_pod(testbed, name, each.node, {"containers": [container], **each.spec})
    struck = {name: each for name, each in scenarios.items() if each.strike is not None}
    struck_nodes = {each.node for each in struck.values()} - {_SHARED}
    for name in [name for name, each in scenarios.items() if name in struck or each.node in struck_nodes]:
        wait_until(lambda name=name: _has_started(testbed, name), what=f"pod {name}", seconds=90)  # type: ignore[misc]
    done: dict[str, float] = {}

    def strike(name: str) -> None:
        done[struck[name].node if struck[name].node != _SHARED else name] = round(time.time() - recorder.began, 1)
        struck[name].strike(testbed, struck[name].node)  # type: ignore[misc]

    with ThreadPoolExecutor(max_workers=len(struck) or 1) as pool:
        list(pool.map(strike, struck))
    recorder.wait()
    directory.mkdir(parents=True, exist_ok=True)
    for name, node in {**{name: each.node for name, each in scenarios.items()}, **_ALSO}.items():
        if node in nodes:
            struck_at = done.get(name if node == _SHARED else node)
            _write(directory / f"{name}.json", recorder, name=name, node=node, struck_at=struck_at)


def _write(file: Path, recorder: Recorder, *, name: str, node: str, struck_at: float | None) -> None:
    shown: dict[str, Json] = {}
    steps = []
    for step in recorder.steps(node=node, pods=[name]):
        if step["kind"] != "Lease":
            before = shown.get(step["kind"], {}) if step["type"] != "ADDED" else {}
            shown[step["kind"]] = step["object"]
            steps.append({**step, "object": _difference(before, step["object"])})
    head = json.dumps({"source": "recorded", "began": round(recorder.began, 1), "struck_at": struck_at})[:-1]
    file.write_text(head + ', "steps": [\n' + ",\n".join(json.dumps(step) for step in steps) + "\n]}\n")


@cache
def _image(testbed: Testbed) -> str:
    return testbed.push_images("pacer")["pacer"]


def _difference(before: Json, after: Json) -> Json:
    """Return what makes one of the other, as a merge patch (RFC 7386): half of a recording would be repetition."""
    changed: Json = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := _difference(old, new):
                changed[name] = inner
        elif old != new:
            changed[name] = new
    return dict(sorted(changed.items()))


def _create_pod(testbed: Testbed, name: str, node: str, spec: Json) -> None:
    labels = {"sweep": "ends", "sweep-uid": "u", "role": "attempt", "shard": "0", "attempt": "1"}
    restore = _container("sweep-restore", spec.get("restore", "pass"))
    mirror = {**_container("sweep-mirror", _ENDS_0), "restartPolicy": "Always"}
    testbed.api.create(
        f"{_NAMESPACE}/pods",
        {
            "metadata": {"name": name, "labels": {f"resumable.dev/{key}": value for key, value in labels.items()}},
            "spec": {
                **({"nodeSelector": {"kubernetes.io/hostname": node}} if node and "nodeName" not in spec else {}),
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 5,
                **{key: value for key, value in spec.items() if key != "restore"},
                "initContainers": [{"image": _image(testbed), **each} for each in (restore, mirror)],
                "containers": [{"image": _image(testbed), **each} for each in spec["containers"]],
            },
        },
    )


def _has_started(testbed: Testbed, name: str) -> bool:
    """Return whether its experiment runs, or the container before it that is to be struck."""
    status = testbed.api.get(f"{_NAMESPACE}/pods/{name}")["status"]
    restores = any("running" in each["state"] for each in status.get("initContainerStatuses", ())[:1])
    return status["phase"] == "Running" or (name == "rebooted-while-restoring" and restores)


def _ready(node: Json) -> str:
    return next((str(each["status"]) for each in node["status"]["conditions"] if each["type"] == "Ready"), "")


if __name__ == "__main__":
    main()
