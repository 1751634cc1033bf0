"""Programs that the operator keeps going: what each writes, how its sweep is specified, what must not change."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep_sidecar.inspection.program import main as store_command
from trial.ground import Ground
from trial.ledger import ledger_of
from trial.sweep import Sweep

FLUSH_TIMEOUT = "20s"
"""The most that a program without a handler for SIGTERM can hold up its pod's end: as a container's first process it
does not even die of it."""

Files = Mapping[str, bytes]


def _all_of_them(files: Files) -> Any:
    return dict(files)


def _without_times(files: Files) -> Any:
    """Return gmat-sweep's files with its manifest as runs by their id, without the times at which they ran."""
    header, *lines = (json.loads(line) for line in files["manifest.jsonl"].splitlines())
    runs = {
        line["run_id"]: {name: value for name, value in line.items() if name not in ("started_at", "ended_at")}
        for line in lines
    }
    return header, runs, {path: data for path, data in files.items() if path != "manifest.jsonl"}


def _nothing(_files: Files) -> Any:
    """The library's log says when and where each item ran: its merged results are what is compared."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program: `image` and `args` of its container, and the fields of its sweep's `spec` and `spec.checkpoint`.

    `essence` reduces the files of the last generation to what every run must leave alike. `exit_on_sigterm` is the
    status with which the program ends when it is told to stop; None for one that takes no notice.
    """

    image: str
    args: tuple[str, ...] = ()
    checkpoint: Mapping[str, Any]
    spec: Mapping[str, Any] = field(default_factory=dict)
    exit_on_sigterm: int | None = None
    essence: Callable[[Files], Any] = _all_of_them

    def manifest(self, ground: Ground, *, name: str, namespace: str) -> dict[str, Any]:
        """Return its sweep, for spot nodes."""
        container = {
            "name": "experiment",
            "image": ground.images[self.image],
            "args": list(self.args),
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }
        spec = {
            "shards": 1,
            **copy.deepcopy(dict(self.spec)),
            "checkpoint": {
                "url": ground.store,
                "env": ground.store_env,
                "interval": "2s",
                "flushTimeout": FLUSH_TIMEOUT,
                **self.checkpoint,
            },
            "placement": {"pools": [{"name": "spot", "nodeSelector": {"cloud.google.com/gke-spot": "true"}}]},
            "template": {
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "fsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }
            },
        }
        return {
            "apiVersion": "resumable.dev/v1alpha1",
            "kind": "ResumableSweep",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }

    def outcome(self, sweep: Sweep, ground: Ground) -> tuple[Any, bytes]:
        """Return what a completed sweep has left: the essence of its last files, and its merged results."""
        ledger = ledger_of(sweep, environment=ground.local_env)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "restored"
            status = store_command(["restore", sweep.run_folder(), "--shard", "0", "--to", str(target)])
            assert status == 0, f"restoring {sweep.run_folder()} by hand ended with {status}"
            files = {
                str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()
            }
        return self.essence(files), ledger.merged(sweep.status()["merged"]["sha256"]).data


CLIENTS: Mapping[str, Client] = {
    "library": Client(
        image="pacer",
        checkpoint={"file": "results.jsonl"},
        spec={"items": {"matrix": {"n": list(range(40)), "seconds": [1]}}},
        exit_on_sigterm=143,
        essence=_nothing,
    ),
    "mime": Client(image="mime", checkpoint={"file": "confinement.h5.progress.json"}),
    "maddening": Client(image="maddening", checkpoint={"file": "maddening_preempt_snapshot.npz"}, exit_on_sigterm=0),
    "gmat": Client(image="gmat", checkpoint={"file": "manifest.jsonl", "progress": "Gmat"}, essence=_without_times),
    "shell": Client(image="shell", checkpoint={"file": "step"}, exit_on_sigterm=143),
    "orbax": Client(
        image="folders", args=("orbax",), checkpoint={"file": "checkpoints", "commit": ["orbax"]}, exit_on_sigterm=143
    ),
    "torch-dcp": Client(
        image="folders",
        args=("torch-dcp",),
        checkpoint={"file": "checkpoints", "commit": ["torch-dcp"]},
        exit_on_sigterm=143,
    ),
}
