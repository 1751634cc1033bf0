"""Short ways to make what the operator works with; every test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, Stage
from sweep_operator.model.observed import ContainerView, NodeView, PodView, Presence, Role
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.snapshot import Snapshot, Spec, Sweep, SweepStatus

NOW = 1_790_000_000.0
UID = "sweep-uid"
NODE = "node-a"


def node(name: str = NODE, **fields: Any) -> NodeView:
    return NodeView(**{"name": name, "uid": f"uid-of-{name}", "ready_since": NOW - 3600, **fields})


def main(name: str = "main", **fields: Any) -> ContainerView:
    return ContainerView(**{"name": name, "started": True, **fields})


def ended(code: int, *, name: str = "main", reason: str = "", at: float | None = NOW) -> ContainerView:
    return ContainerView(name=name, started=True, exit_code=code, exit_reason=reason, finished_at=at)


def restore(code: int | None = 0, **details: Any) -> dict[str, Any]:
    """Fields of a pod whose restore container exited with `code`."""
    outcome = Outcome("Said", "what restore said", details)
    return {"restore": ContainerView(name="sweep-restore", exit_code=code), "restore_outcome": outcome}


def pod(attempt: int = 1, *, shard: int = 0, **fields: Any) -> PodView:
    """An attempt's pod that runs."""
    defaults: dict[str, Any] = {
        "namespace": "ns",
        "name": f"lr-{shard}-{attempt}",
        "uid": f"pod-{shard}-{attempt}",
        "sweep": "lr",
        "sweep_uid": UID,
        "role": Role.ATTEMPT,
        "node": NODE,
        "phase": "Running",
        "mains": (main(),),
    }
    return PodView(shard=shard, attempt=attempt, **{**defaults, **fields})


def crashed(code: int = 1, *, attempt: int = 1, shard: int = 0, reason: str = "", at: float | None = NOW) -> PodView:
    """A pod whose one main failed."""
    return pod(attempt, shard=shard, phase="Failed", mains=(ended(code, reason=reason, at=at),))


def chore(role: Role, *, code: int | None = None, outcome: Outcome | None = None, **fields: Any) -> PodView:
    """A housekeeping pod."""
    container = ContainerView(name=f"sweep-{role}", started=True, exit_code=code)
    extra = {"name": f"lr-{role}", "uid": f"pod-{role}", "role": role, "mains": (), "mirror": container}
    return pod(0, **{**extra, "mirror_outcome": outcome, **fields})


def record(shard: int = 0, state: ShardState = ShardState.ACTIVE, **fields: Any) -> ShardRecord:
    attempt = 0 if state is ShardState.WAITING else 1
    return ShardRecord(**{"shard": shard, "state": state, "attempt": attempt, **fields})


def placed(shard: int = 0, state: ShardState = ShardState.ACTIVE, **fields: Any) -> ShardRecord:
    """The record of an attempt that was seen on the node."""
    return record(shard, state, **{"node": f"{NODE}/{node().incarnation}", **fields})


def report(attempt: int = 1, *, shard: int = 0, **fields: Any) -> Report:
    defaults: dict[str, Any] = {"run_id": "r", "sequence": 1, "stage": Stage.MIRRORING}
    return Report(shard=shard, attempt=attempt, **{**defaults, **fields})


def sweep(
    records: Sequence[ShardRecord] = (),
    *,
    status: Mapping[str, Any] | None = None,
    deleting: bool = False,
    manifest: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Sweep:
    """A sweep whose program knows its items itself."""
    shards = spec.pop("shards", max(1, len(records)))
    known = [*records, *(ShardRecord(shard=shard) for shard in range(len(records), shards))]
    defaults: dict[str, Any] = {"run_id": UID, "shards": shards, "parallelism": shards}
    attempts = max((each.attempt for each in known), default=0)
    fields = {"phase": "Running", "attempts": attempts, "started_at": NOW - 60, **(status or {})}
    return Sweep(
        namespace="ns",
        name="lr",
        uid=UID,
        generation=1,
        deleting=deleting,
        spec=Spec(**{**defaults, **spec}),
        status=SweepStatus(records=tuple(known), **fields),
        manifest=manifest or {},
    )


def snapshot(of: Sweep, *pods: PodView, nodes: Sequence[NodeView] | None = None, **fields: Any) -> Snapshot:
    """What is known of a sweep; the one node is there unless told."""
    there = {each.name: each for each in ([node()] if nodes is None else nodes)}
    visible = fields.pop("nodes_visible", True)
    return Snapshot(sweep=of, presence=Presence(pods=pods, nodes=there, nodes_visible=visible), **fields)


def changed(of: Sweep, **spec: Any) -> Sweep:
    return replace(of, spec=replace(of.spec, **spec))


def manifest(*, template: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A sweep as the API server has it."""
    body = {
        "shards": 2,
        "checkpoint": {"url": "gs://bucket/sweeps/", "file": "results.jsonl"},
        "template": template or {"spec": {"containers": [{"name": "main", "image": "main:1"}]}},
        **spec,
    }
    return {
        "apiVersion": "resumable.dev/v1alpha1",
        "kind": "ResumableSweep",
        "metadata": {"namespace": "ns", "name": "lr", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {name: value for name, value in body.items() if value is not None},
    }
