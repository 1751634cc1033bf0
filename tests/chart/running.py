"""An installed operator: a process of this machine with the rights and the settings that a chart gives it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chart.helm import NAME, NAMESPACE
from rig.api import Api, wait_until
from rig.control_plane import ControlPlane


@dataclass(frozen=True)
class Operator:
    """A running operator: where it answers, and what it has logged."""

    url: str
    log: Path

    def answers(self, path: str, *, data: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        """Return the HTTP status of a request, 0 where nobody answers."""
        request = urllib.request.Request(self.url + path, data=data, headers=headers or {})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def looks(self) -> int:
        """Return how often it has looked at a sweep, to the end."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(r'^resumable_sweep_reconciles_total\{result="done"\} (\S+)$', text, re.MULTILINE)
        return int(float(found[1])) if found else 0


@contextmanager
def running_operator(
    control_plane: ControlPlane, api: Api, *, folder: Path, tree: Path | None = None
) -> Iterator[Operator]:
    """Start what the chart has installed, and wait until it is ready; `tree` holds another version's sources.

    There is no kubelet: the deployment's own pod stays pending, and this process is in its place.
    """
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
    token = api.create(account, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token["status"]["token"]}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment = api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    of_pod = {"metadata.name": "operator-0", "status.podIP": "127.0.0.1"}
    told = {
        each["name"]: of_pod[each["valueFrom"]["fieldRef"]["fieldPath"]] if "valueFrom" in each else each["value"]
        for each in container["env"]
        if each.keys() != {"name"}
    } | {"RSWEEP_PORT": str(port)}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LOGNAME": "operator",
        "KUBECONFIG": str(kubeconfig),
    }
    if tree is not None:
        environment["PYTHONPATH"] = f"{tree / 'operator'}:{tree / 'library'}"
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweep_operator"],
            env=environment | told,
            # The working directory is on the path, and may hold this version.
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Operator(url=f"http://127.0.0.1:{port}", log=log)

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()[-2000:]
            return running.answers(container["readinessProbe"]["httpGet"]["path"]) == 200

        wait_until(is_ready, what="the operator to be ready", seconds=60, clue=log.read_text)
        assert running.answers(container["livenessProbe"]["httpGet"]["path"]) == 200
        yield running
    finally:
        process.terminate()
        process.wait(timeout=30)


def owned_by(api: Api, sweep: dict[str, Any], *, kind: str = "pods") -> list[dict[str, Any]]:
    """Return the objects of a kind that belong to a sweep."""
    namespace, uid = sweep["metadata"]["namespace"], sweep["metadata"]["uid"]
    selector = f"?labelSelector=resumable.dev%2Fsweep-uid%3D{uid}"
    found: list[dict[str, Any]] = api.get(f"/api/v1/namespaces/{namespace}/{kind}{selector}")["items"]
    return found
