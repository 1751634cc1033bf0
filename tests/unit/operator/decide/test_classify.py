"""Every row of the evidence table, and what wins where several pieces of evidence meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from builders import NODE, NOW, crashed, ended, main, node, pod, report, restore
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.outcome import Exit, Outcome
from resumable_sweep.contract.report import Report, Stage
from sweep_operator.decide.classify import (
    AMBIGUOUS_SECONDS,
    STANDS,
    Finding,
    finding_of,
)
from sweep_operator.model.observed import ContainerView, NodeView, PodView, Presence
from sweep_operator.model.signals import Signal

HERE = node()
UNREACHABLE_AFTER_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Case:
    sees: PodView | None
    signal: Signal
    ended: bool = True
    node: NodeView | None = HERE
    nodes_visible: bool = True
    incarnation: str = HERE.incarnation
    absent: bool = False
    says: Report | None = None


def judged(case: Case, now: float = NOW) -> Finding:
    nodes = {NODE: case.node} if case.node else {}
    return finding_of(
        case.sees,
        absent=case.absent,
        incarnation=case.incarnation,
        presence=Presence(nodes=nodes, nodes_visible=case.nodes_visible),
        report=case.says,
        unreachable_after=UNREACHABLE_AFTER_SECONDS,
        now=now,
    )


def disrupted(by: str, **fields: Any) -> PodView:
    return pod(disruption=by, **fields)


def killed(at: float | None = NOW - 60, **fields: Any) -> PodView:
    return pod(phase="Failed", mains=(ended(137, at=at),), **fields)


def restore_failed(code: int) -> PodView:
    return pod(phase="Failed", mains=(main(started=False),), **restore(code))


def restore_lost() -> PodView:
    lost = ContainerView(name="sweep-restore", started=True, exit_code=255, exit_reason="Unknown")
    return pod(phase="Failed", mains=(main(started=False),), restore=lost)


def exited_1(**fields: Any) -> PodView:
    """A pod whose one main failed ten seconds ago."""
    return pod(mains=(ended(1, at=NOW - 10),), **fields)


BOOTED = node(boot_id="first")
SEALED = report(stage=Stage.SEALED)
STOPPED = report(stage=Stage.STOPPED, message="attempt 7 has taken the shard")
UNKNOWN = node(ready="Unknown", ready_since=NOW - UNREACHABLE_AFTER_SECONDS)

TABLE = {
    "nothing unusual": Case(sees=pod(), signal=Signal.NONE, ended=False),
    "a pod that is not cached yet": Case(sees=None, signal=Signal.NONE, ended=False),
    "evicted through the API": Case(sees=disrupted("EvictionByEvictionAPI"), signal=Signal.EVICTED, ended=False),
    "evicted, and terminal": Case(sees=disrupted("EvictionByEvictionAPI", phase="Failed"), signal=Signal.EVICTED),
    "evicted, and sealed": Case(sees=disrupted("EvictionByEvictionAPI"), says=SEALED, signal=Signal.EVICTED),
    "deleted by the taint manager": Case(sees=disrupted("DeletionByTaintManager"), signal=Signal.TAINTED, ended=False),
    "preempted by the scheduler": Case(sees=disrupted("PreemptionByScheduler"), signal=Signal.PREEMPTED, ended=False),
    "collected with its node": Case(
        sees=disrupted("DeletionByPodGC", phase="Failed"), node=None, signal=Signal.POD_COLLECTED
    ),
    "terminated by the kubelet, exit 0": Case(
        sees=disrupted("TerminationByKubelet", phase="Succeeded", mains=(ended(0),)), signal=Signal.KUBELET_TERMINATED
    ),
    "terminated by the kubelet, out of memory": Case(
        sees=disrupted("TerminationByKubelet", phase="Failed", mains=(ended(137, reason="OOMKilled"),)),
        signal=Signal.KUBELET_TERMINATED,
    ),
    "a disruption with a new name": Case(sees=disrupted("ByTheFullMoon"), signal=Signal.DISRUPTED, ended=False),
    "disrupted, and its node is gone": Case(sees=disrupted("DeletionByTaintManager"), node=None, signal=Signal.TAINTED),
    "evicted under node pressure": Case(
        sees=disrupted("TerminationByKubelet", phase="Failed", reason="Evicted"), signal=Signal.NODE_PRESSURE
    ),
    "evicted for its own storage": Case(sees=pod(phase="Failed", reason="Evicted"), signal=Signal.STORAGE_LIMIT),
    "shut down with its node": Case(sees=pod(phase="Failed", reason="Terminated"), signal=Signal.NODE_SHUTDOWN),
    "shut down, exit 1": Case(
        sees=pod(phase="Failed", reason="NodeShutdown", mains=(ended(1),)), signal=Signal.NODE_SHUTDOWN
    ),
    "node gone": Case(sees=pod(), node=None, signal=Signal.NODE_GONE),
    "node gone, nodes unreadable": Case(sees=pod(), node=None, nodes_visible=False, signal=Signal.NONE, ended=False),
    "node replaced under its name": Case(sees=pod(), node=node(uid="another"), signal=Signal.NODE_REPLACED),
    "node booted anew": Case(
        sees=pod(), incarnation=BOOTED.incarnation, node=node(boot_id="second"), signal=Signal.NODE_REBOOTED
    ),
    "node booted anew, and the containers were lost": Case(
        sees=crashed(255, reason="Unknown"),
        incarnation=BOOTED.incarnation,
        node=node(boot_id="second"),
        signal=Signal.CONTAINER_LOST,
    ),
    "exit 1, and its node booted anew afterwards": Case(
        sees=crashed(1),
        incarnation=BOOTED.incarnation,
        node=node(boot_id="second"),
        signal=Signal.CONTAINER_FAILED,
    ),
    "the same boot": Case(sees=pod(), incarnation=BOOTED.incarnation, node=BOOTED, signal=Signal.NONE, ended=False),
    "a boot that an earlier version did not note": Case(sees=pod(), node=BOOTED, signal=Signal.NONE, ended=False),
    "a node that does not tell its boot": Case(
        sees=pod(), incarnation=BOOTED.incarnation, signal=Signal.NONE, ended=False
    ),
    "another machine, whatever its boot": Case(
        sees=pod(),
        incarnation=BOOTED.incarnation,
        node=node(uid="another", boot_id="first"),
        signal=Signal.NODE_REPLACED,
    ),
    "vanished, and its node booted anew": Case(
        sees=None, absent=True, incarnation=BOOTED.incarnation, node=node(boot_id="b"), signal=Signal.POD_VANISHED
    ),
    "node being deleted, and drained": Case(
        sees=pod(), node=node(deleted=True), signal=Signal.NODE_SHUTTING_DOWN, ended=False
    ),
    "node shutting down": Case(
        sees=pod(), node=node(ready="False", shutting_down=True), signal=Signal.NODE_SHUTTING_DOWN, ended=False
    ),
    "node shutting down, and sealed": Case(
        sees=pod(), node=node(shutting_down=True), says=SEALED, signal=Signal.NODE_SHUTTING_DOWN
    ),
    "node about to be removed": Case(
        sees=pod(), node=node(terminating="karpenter.sh/disrupted"), signal=Signal.NODE_SHUTTING_DOWN, ended=False
    ),
    "node not ready, but answering": Case(sees=pod(), node=node(ready="False"), signal=Signal.NONE, ended=False),
    "node silent for long": Case(sees=pod(), node=UNKNOWN, signal=Signal.NODE_UNREACHABLE),
    "node that has only registered": Case(
        sees=pod(), node=node(ready="Unknown", ready_since=0.0), signal=Signal.NONE, ended=False
    ),
    "node silent for a moment": Case(
        sees=pod(), node=node(ready="Unknown", ready_since=NOW - 1), signal=Signal.NONE, ended=False
    ),
    "deleted raw": Case(sees=pod(deleted=True), signal=Signal.POD_DELETED, ended=False),
    "deleted raw, and sealed": Case(sees=pod(deleted=True), says=SEALED, signal=Signal.POD_DELETED),
    "vanished": Case(sees=None, absent=True, signal=Signal.POD_VANISHED),
    "vanished with its node": Case(sees=None, absent=True, node=None, signal=Signal.NODE_GONE),
    "exit 0 that proves nothing": Case(sees=pod(phase="Succeeded", mains=(ended(0),)), signal=Signal.UNPROVEN),
    "its writer has stopped for good": Case(sees=pod(), says=STOPPED, signal=Signal.SUPERSEDED),
    "its writer found damage": Case(
        sees=pod(), says=replace(STOPPED, problem="CheckpointCorrupt"), signal=Signal.CHECKPOINT_DAMAGED
    ),
    "its writer cannot read what is stored": Case(
        sees=pod(), says=replace(STOPPED, problem="CheckpointInvalid"), signal=Signal.CHECKPOINT_CORRUPT
    ),
    "sealed, and not terminal yet": Case(sees=pod(), says=SEALED, signal=Signal.NONE, ended=False),
    "exit 1": Case(sees=crashed(1), signal=Signal.CONTAINER_FAILED),
    "exit 1, and its node went afterwards": Case(sees=crashed(1), node=None, signal=Signal.CONTAINER_FAILED),
    "exit 1 while its sidecar still stores, and its node goes": Case(
        sees=exited_1(), node=None, signal=Signal.CONTAINER_FAILED
    ),
    "exit 1 while its sidecar still stores, and its node is another": Case(
        sees=exited_1(), node=node(uid="another"), signal=Signal.CONTAINER_FAILED
    ),
    "exit 1 while its sidecar still stores": Case(sees=exited_1(), signal=Signal.NONE, ended=False),
    "exit 1, then its node shut down": Case(
        sees=exited_1(), node=node(shutting_down=True, ready_since=NOW - 9), signal=Signal.CONTAINER_FAILED, ended=False
    ),
    "exit 1 in answer to its node's shutdown": Case(
        sees=exited_1(),
        node=node(shutting_down=True, ready_since=NOW - 10),
        signal=Signal.NODE_SHUTTING_DOWN,
        ended=False,
    ),
    "exit 1 on a node that is to go": Case(
        sees=exited_1(), node=node(terminating="karpenter.sh/disrupted"), signal=Signal.NODE_SHUTTING_DOWN, ended=False
    ),
    "exit 1, then it was evicted": Case(
        sees=exited_1(disruption="EvictionByEvictionAPI", deleted=True, deleted_at=NOW - 4),
        signal=Signal.CONTAINER_FAILED,
        ended=False,
    ),
    "exit 1 in answer to an eviction, by clocks that differ": Case(
        sees=exited_1(disruption="EvictionByEvictionAPI", deleted=True, deleted_at=NOW - 6),
        signal=Signal.EVICTED,
        ended=False,
    ),
    "exit 1, then it was deleted, and is terminal": Case(
        sees=exited_1(deleted=True, deleted_at=NOW - 4, phase="Failed"), signal=Signal.CONTAINER_FAILED
    ),
    "exit 1 of a pod that its kubelet has ended": Case(
        sees=exited_1(phase="Failed", disruption="TerminationByKubelet"), node=None, signal=Signal.KUBELET_TERMINATED
    ),
    "exit 143 while its sidecar still stores, and its node goes": Case(
        sees=pod(mains=(ended(143),)), node=None, signal=Signal.NODE_GONE
    ),
    "lost containers, and its node goes": Case(
        sees=pod(mains=(ended(255, reason="Unknown"),)), node=None, signal=Signal.NODE_GONE
    ),
    "deleted raw, exit 0": Case(
        sees=pod(phase="Succeeded", deleted=True, mains=(ended(0),)), signal=Signal.POD_DELETED
    ),
    "node silent, and said to be off": Case(
        sees=pod(),
        node=node(ready="Unknown", ready_since=NOW - 1, terminating="node.kubernetes.io/out-of-service"),
        signal=Signal.NODE_SHUTTING_DOWN,
    ),
    "restore: lost with its machine": Case(sees=restore_lost(), signal=Signal.CONTAINER_LOST),
    "one of two mains failed": Case(
        sees=pod(phase="Failed", mains=(ended(0, name="a"), ended(2, name="b"))), signal=Signal.CONTAINER_FAILED
    ),
    "out of memory": Case(sees=crashed(137, reason="OOMKilled"), signal=Signal.OUT_OF_MEMORY),
    "one main ended the other out of memory": Case(
        sees=pod(phase="Failed", mains=(ended(143, name="a"), ended(137, name="b", reason="OOMKilled"))),
        signal=Signal.OUT_OF_MEMORY,
    ),
    "past its deadline": Case(sees=pod(phase="Failed", reason="DeadlineExceeded"), signal=Signal.DEADLINE),
    "killed by a signal long ago": Case(sees=killed(), signal=Signal.CONTAINER_KILLED),
    "killed by a signal just now": Case(sees=killed(at=NOW - 1), signal=Signal.NONE, ended=False),
    "killed by a signal nobody knows when": Case(sees=killed(at=None), signal=Signal.CONTAINER_KILLED),
    "killed by a signal, and its node is gone": Case(sees=killed(), node=None, signal=Signal.NODE_GONE),
    "a container the kubelet has lost": Case(
        sees=crashed(137, reason="ContainerStatusUnknown", at=None), signal=Signal.CONTAINER_LOST
    ),
    "a command that does not exist": Case(sees=crashed(128, reason="StartError"), signal=Signal.START_FAILED),
    "the user's own init container failed": Case(
        sees=pod(phase="Failed", mains=(main(started=False),), inits=(ended(3, name="prepare"),)),
        signal=Signal.CONTAINER_FAILED,
    ),
    "no room on the node": Case(
        sees=pod(phase="Failed", reason="OutOfnvidia.com/gpu", mains=()), signal=Signal.REJECTED
    ),
    "refused by the kubelet": Case(
        sees=pod(phase="Failed", reason="UnexpectedAdmissionError", mains=()), signal=Signal.REJECTED
    ),
    "failed without a container that did": Case(sees=pod(phase="Failed", mains=()), signal=Signal.REJECTED),
    "restore: the store does not answer": Case(
        sees=restore_failed(Exit.STORE_UNREACHABLE), signal=Signal.STORE_UNREACHABLE
    ),
    "restore: corrupt": Case(sees=restore_failed(Exit.CHECKPOINT_CORRUPT), signal=Signal.CHECKPOINT_CORRUPT),
    "restore: the named file is missing": Case(
        sees=restore_failed(Exit.RESUME_FILE_MISSING), signal=Signal.RESUME_FILE_MISSING
    ),
    "restore: other items": Case(sees=restore_failed(Exit.ITEMS_CHANGED), signal=Signal.ITEMS_CHANGED),
    "restore: no room for the checkpoint": Case(
        sees=restore_failed(Exit.SNAPSHOT_VOLUME_TOO_SMALL), signal=Signal.STORAGE_LIMIT
    ),
    "restore: another program": Case(sees=restore_failed(Exit.DRIFT), signal=Signal.DRIFT),
    "restore: wrong settings": Case(sees=restore_failed(Exit.USAGE), signal=Signal.CONFIGURATION),
    "restore: superseded": Case(sees=restore_failed(Exit.SUPERSEDED), signal=Signal.SUPERSEDED),
    "restore: crashed": Case(sees=restore_failed(1), signal=Signal.START_FAILED),
    "restore: killed with its node": Case(sees=restore_failed(137), node=None, signal=Signal.NODE_GONE),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_evidence(case: Case) -> None:
    finding = judged(case)
    assert (finding.signal, finding.ended) == (case.signal, case.ended)
    assert not finding.complete


def test_a_restore_that_ran_out_of_memory_is_told_with_its_mend() -> None:
    starved = ContainerView(name="sweep-restore", started=True, exit_code=137, exit_reason="OOMKilled")
    finding = judged(Case(sees=replace(restore_failed(137), restore=starved), signal=Signal.START_FAILED))
    assert finding.signal == Signal.START_FAILED
    assert finding.message.startswith("sweep-restore: OOMKilled: raise sidecar.resources")


COMPLETE = report(stage=Stage.COMPLETE)
PROVEN = {
    "pushed while the pod still seems to run": Case(sees=pod(), says=COMPLETE, signal=Signal.NONE),
    "pushed, and the pod is gone": Case(sees=None, absent=True, says=COMPLETE, signal=Signal.NONE),
    "pushed, and the node went away before the pod could end": Case(
        sees=pod(), node=None, says=COMPLETE, signal=Signal.NONE
    ),
    "in the mirror's last words": Case(
        sees=pod(phase="Succeeded", mirror_outcome=Outcome("Complete", "", {"stage": "complete"})), signal=Signal.NONE
    ),
    "although the pod failed": Case(sees=crashed(1), says=COMPLETE, signal=Signal.NONE),
    "found by restore": Case(sees=restore_failed(Exit.COMPLETE), signal=Signal.NONE),
    "in a shutdown": Case(sees=disrupted("TerminationByKubelet", phase="Failed"), says=COMPLETE, signal=Signal.NONE),
}


@pytest.mark.parametrize("case", PROVEN.values(), ids=PROVEN.keys())
def test_completion_beats_all_other_evidence(case: Case) -> None:
    assert judged(case) == Finding(complete=True, ended=True)


def test_a_silent_node_is_looked_at_again_when_it_counts_as_dead() -> None:
    case = Case(sees=pod(), node=node(ready="Unknown", ready_since=NOW - 10), signal=Signal.NONE)
    assert judged(case) == Finding(again_at=NOW - 10 + UNREACHABLE_AFTER_SECONDS)


def test_a_killed_container_is_looked_at_again_when_no_more_evidence_will_come() -> None:
    case = Case(sees=killed(at=NOW), signal=Signal.NONE)
    assert judged(case) == Finding(again_at=NOW + AMBIGUOUS_SECONDS)
    assert judged(case, now=NOW + AMBIGUOUS_SECONDS).signal is Signal.CONTAINER_KILLED


def test_a_running_pod_on_a_node_never_noted_is_no_replacement() -> None:
    assert judged(Case(sees=pod(), incarnation="", signal=Signal.NONE)) == STANDS


def test_an_outcome_of_the_mirror_that_is_no_completion_proves_nothing() -> None:
    sealed = pod(phase="Succeeded", mains=(ended(0),), mirror_outcome=Outcome("Sealed", "", {"stage": "sealed"}))
    assert judged(Case(sees=sealed, signal=Signal.UNPROVEN)).signal is Signal.UNPROVEN


def test_every_signal_but_the_operators_own_has_one_consequence() -> None:
    for signal in Signal:
        kinds = [signal.is_reclaim, signal.is_infrastructure, signal.is_user_failure, signal.is_final]
        assert sum(kinds) == (0 if signal in (Signal.NONE, Signal.STOPPED, Signal.FORBIDDEN) else 1), signal


def test_a_waiting_container_has_not_failed() -> None:
    waiting = pod(phase="Pending", node="", mains=(ContainerView(name="main", waiting_reason="ImagePullBackOff"),))
    assert judged(Case(sees=waiting, incarnation="", signal=Signal.NONE)) == STANDS


CODES = st.sampled_from([None, 0, 1, 80, 81, 128, 137, 143, 255])
REASONS = st.sampled_from(["", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown", "Unknown", "Completed"])
TIMES = st.sampled_from([None, NOW - 100, NOW - 3, NOW, NOW + 50])
CONTAINERS = st.builds(
    ContainerView, name=st.just("any"), started=st.booleans(), exit_code=CODES, exit_reason=REASONS, finished_at=TIMES
)
PODS = st.builds(
    pod,
    node=st.sampled_from(["", NODE, "another"]),
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
    reason=st.sampled_from(
        ["", "Evicted", "Terminated", "Shutdown", "NodeShutdown", "Preempting", "OutOfcpu", "DeadlineExceeded", "New"]
    ),
    deleted=st.booleans(),
    deleted_at=st.sampled_from([0.0, NOW - 30, NOW]),
    disruption=st.sampled_from(["", "EvictionByEvictionAPI", "DeletionByPodGC", "TerminationByKubelet", "New"]),
    mains=st.lists(CONTAINERS, max_size=3).map(tuple),
    inits=st.lists(CONTAINERS, max_size=2).map(tuple),
    restore=st.none() | CONTAINERS,
)
NODES = st.builds(
    node,
    uid=st.sampled_from(["a", "b"]),
    boot_id=st.sampled_from(["", "a", "b"]),
    ready=st.sampled_from(["True", "False", "Unknown"]),
    ready_since=st.sampled_from([0.0, NOW - 100, NOW - 3, NOW + 50]),
    shutting_down=st.booleans(),
    terminating=st.sampled_from(["", "karpenter.sh/disrupted", "node.kubernetes.io/out-of-service"]),
    deleted=st.booleans(),
)
REPORTS = st.builds(report, stage=st.sampled_from(list(Stage)), problem=st.sampled_from(["", "CheckpointCorrupt"]))
CASES = st.builds(
    Case,
    sees=st.none() | PODS,
    signal=st.just(Signal.NONE),
    node=st.none() | NODES,
    nodes_visible=st.booleans(),
    incarnation=st.sampled_from(["", HERE.incarnation, BOOTED.incarnation, node(uid="a", boot_id="b").incarnation]),
    absent=st.booleans(),
    says=st.none() | REPORTS,
)


@given(CASES)
def test_any_evidence_has_exactly_one_meaning(case: Case) -> None:
    finding = judged(case)

    assert not (finding.complete and finding.signal)
    # Either it is over, or it is leaving, or it stands: and one that stands for now is looked at again.
    assert finding.ended <= (finding.complete or bool(finding.signal))
    assert finding.again_at is None or (not finding.signal and finding.again_at > NOW)
    if case.sees is not None and case.sees.is_terminal:
        # What has ended is never taken for something that goes on, and waits only for what will decide.
        assert finding.ended or finding.again_at is not None, finding


@given(CASES)
def test_nothing_is_ambiguous_for_ever(case: Case) -> None:
    assert judged(case, now=NOW + 1e6).again_at is None
