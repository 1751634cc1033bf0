"""What real kubelets published of each way in which a pod ends, judged step by step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from replay import RECORDINGS, Recording, findings_of, verdict_of

from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal

NAMES = sorted(file.stem for file in RECORDINGS.glob("*.json"))


@dataclass(frozen=True)
class Told:
    """The verdict, and what the evidence said in turn: `!` where it tells that nothing runs any more.

    `unseen` is the verdict of an operator that was away all the time, and finds only what is left.
    """

    signal: Signal
    evidence: str
    unseen: Signal


def told(signal: Signal, evidence: str, *, unseen: Signal | None = None) -> Told:
    return Told(signal, evidence, signal if unseen is None else unseen)


S = Signal
ENDED_BY_THE_PLATFORM = {
    "kill": told(S.NODE_GONE, "NodeGone! DeletionByPodGC! NodeGone!"),
    "kill-node-kept": told(S.NODE_UNREACHABLE, "NodeUnreachable!"),
    "out-of-service": told(
        S.NODE_SHUTTING_DOWN, "NodeShuttingDown! DeletionByTaintManager! PodVanished!", unseen=S.POD_VANISHED
    ),
    "out-of-service-terminating": told(
        S.POD_DELETED, "PodDeleted NodeShuttingDown! PodVanished!", unseen=S.POD_VANISHED
    ),
    "shutdown": told(S.NODE_SHUTTING_DOWN, "NodeShuttingDown TerminationByKubelet! NodeGone!", unseen=S.NODE_GONE),
    "shutdown-exit-0": told(
        S.NODE_SHUTTING_DOWN, "NodeShuttingDown TerminationByKubelet! NodeGone!", unseen=S.NODE_GONE
    ),
    "shutdown-exit-137": told(
        S.NODE_SHUTTING_DOWN, "NodeShuttingDown TerminationByKubelet! NodeGone!", unseen=S.NODE_GONE
    ),
    "shutdown-without-condition": told(S.NODE_SHUTDOWN, "NodeShutdown!"),
    "shutdown-of-kubernetes-1.21": told(S.NODE_SHUTDOWN, "NodeShutdown!"),
    "refused-in-shutdown": told(S.NODE_SHUTTING_DOWN, "NodeShuttingDown NodeShutdown! NodeGone!"),
    "notice": told(S.NODE_SHUTTING_DOWN, "NodeShuttingDown TerminationByKubelet! NodeGone!", unseen=S.NODE_GONE),
    "machine-stopped": told(S.NODE_SHUTTING_DOWN, "NodeShuttingDown!"),
    "drain": told(S.EVICTED, "EvictionByEvictionAPI EvictionByEvictionAPI! PodVanished!", unseen=S.POD_VANISHED),
    "drain-exit-0": told(S.EVICTED, "EvictionByEvictionAPI EvictionByEvictionAPI! PodVanished!", unseen=S.POD_VANISHED),
    "karpenter": told(
        S.NODE_SHUTTING_DOWN,
        "NodeShuttingDown EvictionByEvictionAPI EvictionByEvictionAPI! PodVanished! NodeGone!",
        unseen=S.NODE_GONE,
    ),
    "termination-handler": told(
        S.NODE_SHUTTING_DOWN,
        "NodeShuttingDown EvictionByEvictionAPI EvictionByEvictionAPI! PodVanished!",
        unseen=S.POD_VANISHED,
    ),
    "aks-drain": told(S.NODE_SHUTTING_DOWN, "NodeShuttingDown NodeGone!", unseen=S.NODE_GONE),
    "node-deleted": told(S.NODE_GONE, "NodeGone! DeletionByPodGC! NodeGone!"),
    "partition": told(S.NODE_UNREACHABLE, "NodeUnreachable! -", unseen=S.NONE),
    "partition-evicted": told(
        S.NODE_UNREACHABLE,
        "NodeUnreachable! DeletionByTaintManager! DeletionByTaintManager DeletionByTaintManager! PodVanished!",
        unseen=S.POD_VANISHED,
    ),
    "replaced": told(S.NODE_GONE, "NodeGone! NodeReplaced! ContainerLost!", unseen=S.CONTAINER_LOST),
    "replaced-object-kept": told(S.NODE_REBOOTED, "NodeRebooted! ContainerLost!", unseen=S.CONTAINER_LOST),
    "rebooted": told(S.NODE_REBOOTED, "NodeRebooted! ContainerLost!", unseen=S.CONTAINER_LOST),
    "rebooted-while-restoring": told(S.NODE_REBOOTED, "NodeRebooted! ContainerLost!", unseen=S.CONTAINER_LOST),
    "tainted": told(S.TAINTED, "DeletionByTaintManager DeletionByTaintManager! PodVanished!", unseen=S.POD_VANISHED),
    "preempted": told(S.PREEMPTED, "PreemptionByScheduler PreemptionByScheduler! PodVanished!", unseen=S.POD_VANISHED),
    "critical-pod-admitted": told(S.KUBELET_TERMINATED, "TerminationByKubelet!"),
    "pod-deleted": told(S.POD_DELETED, "PodDeleted PodDeleted! PodVanished!", unseen=S.POD_VANISHED),
    "pod-deleted-exit-0": told(S.POD_DELETED, "PodDeleted PodDeleted! PodVanished!", unseen=S.POD_VANISHED),
    "force-deleted": told(S.POD_VANISHED, "PodVanished!"),
    "killed-then-node-gone": told(S.NODE_GONE, "NodeGone! DeletionByPodGC! NodeGone!"),
}
THE_PLATFORM_FAILED = {
    "node-pressure": told(S.NODE_PRESSURE, "NodePressure!"),
    "no-room": told(S.REJECTED, "PodRejected!"),
    "admission-failed": told(S.REJECTED, "PodRejected!"),
    "topology-refused": told(S.REJECTED, "PodRejected!"),
    "start-error": told(S.START_FAILED, "ContainerStartFailed!"),
    "restore-failed": told(S.STORE_UNREACHABLE, "StoreUnreachable!"),
    "exit-0": told(S.UNPROVEN, "SucceededWithoutProof!"),
}
THE_EXPERIMENT_FAILED = {
    "exit-1": told(S.CONTAINER_FAILED, "ContainerFailed!"),
    "exit-137": told(S.CONTAINER_KILLED, "ContainerKilled!"),
    "out-of-memory": told(S.OUT_OF_MEMORY, "OutOfMemory!"),
    "storage-limit": told(S.STORAGE_LIMIT, "StorageLimitExceeded!"),
    "deadline": told(S.DEADLINE, "DeadlineExceeded!"),
    # Who was away finds a pod that the garbage collector has taken with its node.
    "crash-then-node-gone": told(S.CONTAINER_FAILED, "ContainerFailed! NodeGone!", unseen=S.NODE_GONE),
}
GOES_ON = {
    "image-pull": told(S.NONE, ""),
    "secret-missing": told(S.NONE, ""),
    "kubelet-restarted": told(S.NONE, ""),
    "kubelet-not-ready": told(S.NONE, ""),
    "autoscaler-scales-down": told(S.NONE, "NodeShuttingDown -"),
}
TABLE = {**ENDED_BY_THE_PLATFORM, **THE_PLATFORM_FAILED, **THE_EXPERIMENT_FAILED, **GOES_ON}


def test_every_recording_has_its_verdict() -> None:
    assert sorted(TABLE) == NAMES
    for name in ENDED_BY_THE_PLATFORM:
        assert TABLE[name].signal.is_reclaim
    for name in THE_PLATFORM_FAILED:
        assert TABLE[name].signal.is_infrastructure
    for name in THE_EXPERIMENT_FAILED:
        assert TABLE[name].signal.is_user_failure


@pytest.mark.parametrize("name", NAMES)
def test_the_evidence_in_turn(name: str) -> None:
    found = findings_of(Recording(RECORDINGS / f"{name}.json"))

    words = [f"{finding.signal or '-'}{'!' if finding.ended else ''}" for finding in found]
    assert words == ["-", *TABLE[name].evidence.split()]


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_is_made_once_by_the_first_evidence(name: str) -> None:
    verdict = verdict_of(Recording(RECORDINGS / f"{name}.json"))

    assert verdict.record.signal is TABLE[name].signal
    assert (verdict.at is None) == (name in GOES_ON)
    assert (verdict.record.state is ShardState.WAITING) == (name not in GOES_ON)
    assert verdict.later == verdict.record
    told_of = verdict.reclaim.signal if verdict.reclaim else Signal.NONE
    assert told_of is (TABLE[name].signal if name in ENDED_BY_THE_PLATFORM else Signal.NONE)


def seen_from(recording: Recording) -> float:
    """Return when the operator has seen the pod on its node, in seconds of the recording."""
    placed = (moment.now for moment in recording.moments() if moment.node and moment.pod and moment.pod.node)
    return round(next(placed) - recording.began, 1)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(GOES_ON)))
def test_who_was_away_for_a_while_makes_a_verdict_of_the_same_class(name: str) -> None:
    recording = Recording(RECORDINGS / f"{name}.json")
    begin = seen_from(recording) + 0.05
    wanted = TABLE[name]
    classes = {(signal.is_reclaim, signal.is_user_failure) for signal in (wanted.signal, wanted.unseen)}

    for moment in recording.moments():
        if moment.now > recording.began + begin:
            signal = verdict_of(recording, away=(begin, moment.now - recording.began)).record.signal
            assert (signal.is_reclaim, signal.is_user_failure) in classes, (moment.now - recording.began, signal)


@pytest.mark.parametrize("name", NAMES)
def test_who_was_away_until_the_end_judges_by_what_is_left(name: str) -> None:
    recording = Recording(RECORDINGS / f"{name}.json")
    *_, last = recording.moments()

    verdict = verdict_of(recording, away=(seen_from(recording) + 0.05, last.now - recording.began + 60))

    assert verdict.record.signal is TABLE[name].unseen


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_says_where_it_is_from(name: str) -> None:
    source = Recording(RECORDINGS / f"{name}.json").source
    assert source == "recorded" or source.startswith("transcribed: ")
