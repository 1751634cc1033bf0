"""A cluster in memory: nodes, pods with an experiment in them, and the store that they write to.

Only what the operator's decisions rest upon is played, but that truly: a pod that the API server shows as running may
have died long ago, one that it shows no more may still write, and the store lets only the newest attempt write.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from builders import NOW, UID

from resumable_sweep.contract.outcome import Exit, Outcome
from resumable_sweep.contract.report import NoticeKind, Report, Stage
from sweep_operator.model.observed import ContainerView, NodeView, PodView, Role

ITEMS = 6
"""So many items has every shard."""


@dataclass
class Shard:
    """A shard's log in the store."""

    head: int = 0
    writer: str = ""
    sealed: bool = False
    items: int = 0
    complete: bool = False


@dataclass
class Process:
    """What runs in an attempt's pod, whatever the API server knows of it."""

    alive: bool = True
    holds: bool = False
    """Whether it has taken the shard's log."""
    take_after: int | None = None
    """How many seconds it waits at most before it takes the log, where it was made ahead of time."""
    takes_at: float | None = None
    may_take: bool = False
    """Whether the operator has told it that it need not wait."""
    recorded: int = 0
    restored: int = 0
    sequence: int = 0
    hook_fired: bool = False


@dataclass
class FakeCluster:
    shards: list[Shard]
    now: float = NOW
    nodes: dict[str, NodeView] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    """The shard of every attempt that ever had a pod, by the attempt's number."""
    quota_is_used_up: bool = False
    notices: dict[str, tuple[NoticeKind, float]] = field(default_factory=dict)
    """What the cloud announces, by node: a notice and its deadline."""
    cut_off: set[str] = field(default_factory=set)
    """Nodes that nobody but the store hears of any more, although Kubernetes calls them ready as yet."""
    partial_merges: bool = False
    """Whether results may be merged although shards are not complete."""
    changes: int = 0
    """Grows with whatever the operator's watches would tell it."""
    _uids: int = 0

    # What the API server does for the operator.

    def create(self, pod: PodView, *, take_after: int | None = None) -> bool:
        """Take a new pod in, and return whether its name was free."""
        if pod.name in self.pods:
            return False
        if pod.role is Role.ATTEMPT:
            assert pod.attempt not in self.made, f"attempt {pod.attempt} has a second pod"
            self.made[pod.attempt] = pod.shard
        self._uids += 1
        uid = f"uid-{self._uids}"
        self.put(replace(pod, uid=uid, created_at=float(int(self.now))))
        self.processes[uid] = Process(take_after=take_after)
        return True

    def delete(self, pod: PodView, grace_seconds: int | None) -> None:
        there = self.pods.get(pod.name)
        if there is not None and there.uid == pod.uid:
            if grace_seconds == 0 or not there.node or there.is_terminal:
                self.remove(there)
            elif not there.deleted:
                self.put(replace(there, deleted=True))

    def put(self, pod: PodView) -> None:
        if self.pods.get(pod.name) != pod:
            self.pods[pod.name] = pod
            self.changes += 1

    def remove(self, pod: PodView) -> None:
        del self.pods[pod.name]
        self.changes += 1

    def set_node(self, name: str, **fields: Any) -> None:
        self._uids += 1
        known = self.nodes.get(name) or NodeView(name=name, uid=f"node-{self._uids}")
        self.nodes[name] = replace(known, ready_since=self.now, **fields)
        self.changes += 1

    # What happens to pods.

    def schedule(self, pod: PodView) -> None:
        ready = [node for node in self.nodes.values() if node.ready == "True" and not node.terminating]
        if not pod.node and not pod.deleted and ready:
            self.put(replace(pod, node=ready[pod.attempt % len(ready)].name))

    def start(self, pod: PodView) -> None:
        """Let the kubelet start what is placed: restore takes the shard, or learns that it must not."""
        if pod.phase != "Pending" or not pod.node or pod.deleted or not self._kubelet_of(pod):
            return
        if pod.role is not Role.ATTEMPT:
            self.put(replace(pod, phase="Running", mirror=ContainerView(name=f"sweep-{pod.role}", started=True)))
            return
        shard, process = self.shards[pod.shard], self.processes[pod.uid]
        if shard.complete:
            self._end_restore(pod, Exit.COMPLETE, {})
            return
        if shard.head > pod.attempt:
            self._end_restore(pod, Exit.SUPERSEDED, {"head_attempt": shard.head})
            return
        if not self._may_take(process, shard):
            return
        shard.head, shard.writer, shard.sealed = pod.attempt, pod.uid, False
        process.holds = True
        process.recorded = process.restored = shard.items
        mains = (ContainerView(name="main", started=True),)
        self.put(replace(pod, phase="Running", mains=mains, restore=ContainerView(name="sweep-restore", exit_code=0)))

    def _may_take(self, process: Process, shard: Shard) -> bool:
        if process.take_after is None:
            return True
        if process.takes_at is None:
            process.takes_at = self.now + process.take_after
        return not shard.head or shard.sealed or process.may_take or self.now >= process.takes_at

    def ask_for_turn(self, pod: PodView) -> Report | None:
        """Return what an attempt says that waits for its turn."""
        waits = pod.uid in self.processes and self.processes[pod.uid].takes_at is not None
        return self._report(pod, Stage.RESTORING) if waits and pod.phase == "Pending" else None

    def _end_restore(self, pod: PodView, code: Exit, details: dict[str, Any]) -> None:
        restore = ContainerView(name="sweep-restore", exit_code=int(code))
        outcome = Outcome(code.name, "said by restore", details)
        self.put(replace(pod, phase="Failed", restore=restore, restore_outcome=outcome))

    def work(self, pod: PodView) -> None:
        """Record one more item, if there is one left."""
        process = self.processes[pod.uid]
        if process.alive and process.holds and pod.is_running:
            process.recorded = min(ITEMS, process.recorded + 1)

    def mirror(self, pod: PodView, *, stored: bool) -> Report | None:
        """Make durable what is recorded, unless the store is slow, and return what the sidecar says then."""
        process = self.processes[pod.uid]
        if not process.alive or not process.holds or pod.is_terminal:
            return None
        return self._flush(pod, Stage.MIRRORING) if stored else self._report(pod, Stage.MIRRORING)

    def _flush(self, pod: PodView, stage: Stage) -> Report:
        shard, process = self.shards[pod.shard], self.processes[pod.uid]
        if shard.writer == pod.uid and not shard.complete:
            shard.items = process.recorded
            shard.complete = stage is Stage.COMPLETE
            shard.sealed = stage is Stage.SEALED
        else:
            stage = Stage.STOPPED
        return self._report(pod, stage)

    def _report(self, pod: PodView, stage: Stage) -> Report:
        shard, process = self.shards[pod.shard], self.processes[pod.uid]
        process.sequence += 1
        nothing: tuple[NoticeKind, float | None] = (NoticeKind.NONE, None)
        # A restore does not ask the metadata server.
        notice, deadline = nothing if stage is Stage.RESTORING else self.notices.get(pod.node, nothing)
        return Report(
            run_id=UID,
            shard=pod.shard,
            attempt=pod.attempt,
            sequence=process.sequence,
            stage=stage,
            items_done=shard.items if shard.writer == pod.uid else process.restored,
            items_recorded=process.recorded,
            items_restored=process.restored,
            items_total=ITEMS,
            notice=notice,
            notice_deadline=deadline,
        )

    def finish(self, pod: PodView, *, code: int = 0, disruption: str = "", published: bool = True) -> Report | None:
        """Let the main end; the sidecar flushes, proves or seals, and the kubelet publishes the pod's end, or cannot.

        Exit code 0 proves nothing by itself: only a full record does.
        """
        process = self.processes[pod.uid]
        if not process.alive or not pod.is_running:
            return None
        proven = process.recorded == ITEMS
        report = self._flush(pod, Stage.COMPLETE if proven else Stage.SEALED)
        process.alive = False
        if published and pod.node not in self.cut_off:
            main = ContainerView(name="main", started=True, exit_code=code, finished_at=self.now)
            outcome = Outcome("Ended", "", {**report.__dict__})
            phase = "Failed" if code else "Succeeded"
            self.put(replace(pod, phase=phase, mains=(main,), mirror_outcome=outcome, disruption=disruption))
        return report

    def do_chore(self, pod: PodView) -> None:
        """Let a housekeeping pod that runs come to its end."""
        if pod.phase != "Running" or not self._kubelet_of(pod):
            return
        if pod.role is Role.RESOLVE:
            details: dict[str, Any] = {"items": ITEMS * len(self.shards), "items_sha256": "0" * 64}
        else:
            assert self.partial_merges or all(shard.complete for shard in self.shards), "merged too early"
            items = sum(shard.items for shard in self.shards)
            details = {"url": "u", "sha256": "0" * 64, "items": items, "provenance_url": "p"}
        container = ContainerView(name=f"sweep-{pod.role}", started=True, exit_code=0)
        self.put(replace(pod, phase="Succeeded", mirror=container, mirror_outcome=Outcome("Done", "", details)))

    def reap(self, pod: PodView) -> Report | None:
        """Let the kubelet end a pod that is being deleted, or the garbage collector one whose node is gone."""
        node = self.nodes.get(pod.node)
        report = None
        if self._kubelet_of(pod) and pod.deleted:
            report = self.finish(pod, code=143)
            self.remove(pod)
        elif pod.node and (node is None or (self._kubelet_of(pod) and not self.processes[pod.uid].alive)):
            self.remove(pod)
        return report

    def lose_node(self, name: str) -> None:
        """End every process on a node at once, as the loss of power does."""
        for pod in self.pods.values():
            if pod.node == name:
                self.processes[pod.uid].alive = False
        self.notices.pop(name, None)

    def _kubelet_of(self, pod: PodView) -> bool:
        node = self.nodes.get(pod.node)
        return node is not None and node.ready == "True" and pod.node not in self.cut_off
