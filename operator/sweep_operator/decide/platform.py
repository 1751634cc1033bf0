"""What the platform has refused a sweep's pods, or cannot give them: one sentence for all that have one trouble."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sweep_operator.decide.sidecars import STARTING
from sweep_operator.decide.wording import which_shards
from sweep_operator.model.observed import OUT_OF_MEMORY, ContainerView, Creation, PodView, Role
from sweep_operator.model.problem import Problem, clipped
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

STARTING_STEPS = ((180, "3 min"), (600, "10 min"), (1800, "30 min"), (7200, "2 h"), (43_200, "12 h"))
"""When a start is called slow, and what is said of how long it takes: in steps, for each is written to the status."""

# pkg/kubelet/images/types.go. The first two follow each other for as long as an image cannot be pulled.
_PULL_FAILED = ("ImagePullBackOff", "ErrImagePull")
_OF_IMAGE = (
    *_PULL_FAILED,
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
# pkg/kubelet/container/sync_result.go and pkg/kubelet/kuberuntime.
_OF_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")

_REPLACED = "the pod is replaced when spec changes"


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What keeps one pod from starting. Those with the same `reason` and `container` are told of together."""

    reason: str
    said: str
    mend: str
    container: str = ""


def platform_problems(
    snapshot: Snapshot,
    records: Sequence[ShardRecord],
    *,
    now: float,
    troubled: Sequence[ShardRecord] | None = None,
) -> list[Problem]:
    """Return what keeps pods from being made or from starting, that of most shards first.

    `troubled` are those of all shards' `records` whose attempt does not simply run, where that is known.
    """
    troubled = records if troubled is None else troubled
    chores = [role for role in Role if _is_due(role, snapshot, records)]
    return [
        *_refused(snapshot, troubled, now=now),
        *_not_starting(snapshot, troubled, now=now),
        *(problem for role in chores for problem in chore_problems(role, snapshot, now=now)),
    ]


def chore_problems(role: Role, snapshot: Snapshot, *, now: float) -> list[Problem]:
    """Return what keeps a housekeeping pod from being made or from starting."""
    problems = []
    creation = snapshot.housekeeping.get(role)
    if creation is not None and creation.problem:
        problems.append(Problem(reason=creation.problem, message=f"no {role} pod: {creation.message}"))
    for pod in snapshot.presence.pods:
        if pod.role is role and pod.uid in snapshot.forbidden:
            why = snapshot.forbidden[pod.uid]
            problems.append(Problem(reason=why.reason, message=f"no {role} pod: {why.message}"))
            continue
        obstacle = obstacle_of(pod, now=now) if pod.role is role else None
        if obstacle is not None:
            said = f"{_pod(pod, obstacle)}: {obstacle.said}; {obstacle.mend}"
            problems.append(Problem(reason=obstacle.reason, message=said))
    return problems


def _is_due(role: Role, snapshot: Snapshot, records: Sequence[ShardRecord]) -> bool:
    """Return whether a housekeeping pod is wanted: that one was refused is remembered until it is asked for again."""
    sweep = snapshot.sweep
    if role is Role.RESOLVE:
        return sweep.spec.has_items and not sweep.status.items_sha256 and not sweep.spec.suspend
    if role is Role.MERGE:
        return all(record.state in (ShardState.COMPLETE, ShardState.FAILED) for record in records)
    return role is Role.RETAIN and sweep.spec.keep is not None


def obstacle_of(pod: PodView, *, now: float) -> Obstacle | None:
    """Return what keeps a pod from starting, None where nothing is known to."""
    if pod.deleted or pod.is_terminal:
        return None
    if not pod.node:
        return _not_scheduled(pod, now=now)
    if pod.has_started:
        return None
    for container in (pod.restore, pod.mirror, *pod.inits, *pod.mains):
        if container is pod.mirror and pod.is_running:
            continue  # what that means is said elsewhere
        if container is not None and container.waiting_reason not in STARTING:
            obstacle = _not_started(pod, container)
            if obstacle is not None:
                return obstacle
    return _slow(pod, now=now)


def is_untouched(snapshot: Snapshot, records: Sequence[ShardRecord]) -> bool:
    """Return whether no program of the sweep has started, nor can start from anything but what it is now.

    Then nothing comes from what it was before. Wherever that cannot be told, it is not so: a program of before would
    stand beside those of now, and nobody would know.
    """
    pods = [pod for pod in snapshot.presence.pods if pod.role is Role.ATTEMPT]
    if not snapshot.made_of or not _is_blank(snapshot, records):
        return False
    if any(not pod.is_terminal and pod.made_of != snapshot.made_of for pod in pods):
        return False
    there = {pod.attempt for pod in pods}
    under_way = (record for record in records if record.state in UNDER_WAY)
    unseen = (attempt for record in under_way for attempt in record.attempts if attempt not in there)
    return all(_is_unmade(snapshot.creations.get(attempt)) for attempt in unseen)


def awaits_outdated(snapshot: Snapshot, records: Sequence[ShardRecord]) -> bool:
    """Return whether no attempt is to be made yet, because pods of before are still going and no program has started.

    A kubelet may start one of them until it hears of the deletion. Whether it did is certain when the pod is gone, not
    yet when its sidecar has sealed. Of a node that does not answer nobody knows when that will be.
    """
    of_before = [pod for pod in snapshot.pods_by_attempt.values() if _is_of_before(pod, snapshot)]
    if not of_before or not _is_blank(snapshot, records):
        return False
    staying = {
        attempt
        for record in records
        if record.state in (ShardState.ACTIVE, ShardState.LEAVING)
        for attempt in record.attempts
    }
    going = (pod for pod in of_before if pod.attempt not in staying and not pod.is_terminal)
    return any(_is_answered_for(pod, snapshot) for pod in going)


def _is_answered_for(pod: PodView, snapshot: Snapshot) -> bool:
    node = snapshot.presence.nodes.get(pod.node)
    return node is None or node.ready == "True"


def _is_blank(snapshot: Snapshot, records: Sequence[ShardRecord]) -> bool:
    """Return whether nothing shows that a program of the sweep has ever started."""
    blank = (Signal.NONE, Signal.STOPPED, Signal.DRIFT)
    if snapshot.sweep.status.reclaims or any(each.recorded or each.signal not in blank for each in records):
        return False
    mains = (main for pod in snapshot.presence.pods if pod.role is Role.ATTEMPT for main in pod.mains)
    return not any(_has_begun(main) for main in mains)


def _has_begun(main: ContainerView) -> bool:
    if main.exit_reason == "ContainerStatusUnknown":
        # So the kubelet ends containers that it does not find, those of a deleted pod that have never been there, too.
        return bool(main.image_id)
    return main.started or main.exit_code is not None


def _is_unmade(creation: Creation | None) -> bool:
    return creation is not None and creation.created_at is None and not creation.uncertain


def next_step(snapshot: Snapshot, *, now: float) -> float | None:
    """Return when a pod's start takes so long that something else is to be said of it (Unix seconds)."""
    begun = (_starting_since(pod) for pod in snapshot.presence.pods if not pod.has_started)
    steps = (since + seconds for since in begun if since for seconds, _ in STARTING_STEPS)
    return min((at for at in steps if at > now), default=None)


def outdated(snapshot: Snapshot, records: Sequence[ShardRecord], *, now: float) -> list[ShardRecord]:
    """Return the shards whose pod cannot start, and would be made of something else today.

    Kubernetes lets nobody change a pod's template: whoever has mended the sweep's would wait for ever. Where no program
    of the sweep runs yet, pods of before that only start go with them, so that all programs are the same.
    """
    pods = snapshot.pods_by_attempt
    active = [record for record in records if record.state is ShardState.ACTIVE and record.attempt in pods]
    of_before = [record for record in active if _is_of_before(pods[record.attempt], snapshot)]
    stuck = [record for record in of_before if obstacle_of(pods[record.attempt], now=now) is not None]
    return of_before if stuck and _is_blank(snapshot, records) else stuck


def is_outdated(pod: PodView, snapshot: Snapshot, *, now: float) -> bool:
    """Return whether a pod cannot start, and would be made of something else today."""
    return _is_of_before(pod, snapshot) and obstacle_of(pod, now=now) is not None


def _is_of_before(pod: PodView, snapshot: Snapshot) -> bool:
    return bool(pod.made_of and snapshot.made_of) and pod.made_of != snapshot.made_of


def _not_scheduled(pod: PodView, *, now: float) -> Obstacle | None:
    if pod.gated:
        return Obstacle(
            reason="SchedulingGated",
            said="a scheduling gate is on it",
            mend="whoever has put it there (a queue like Kueue, mostly) takes it away when its turn comes",
        )
    if pod.unschedulable:
        words, _, _ = pod.unschedulable.partition(" preemption: ")
        mend = f"add nodes, or change placement, tolerations or requests: {_REPLACED}"
        return Obstacle(reason="Unschedulable", said=clipped(words), mend=mend)
    taken = _step(pod.created_at, now=now)
    if not taken:
        return None
    said = f"no scheduler has looked at it for more than {taken}"
    return Obstacle(reason="NotScheduled", said=said, mend="is spec.template.spec.schedulerName right?")


def _not_started(pod: PodView, container: ContainerView) -> Obstacle | None:
    reason, words = container.waiting_reason, clipped(container.waiting_message) or "it gives no cause"
    said = f"{reason}: {words}"
    is_sidecar = container in (pod.restore, pod.mirror)
    if reason in _OF_IMAGE and is_sidecar:
        mend = f"the sidecar's image is a value of the operator's chart, its pull secret one of the pod: {_REPLACED}"
        return Obstacle(reason="SidecarImageUnavailable", said=said, mend=mend, container=container.name)
    if reason in _PULL_FAILED:
        mend = f"push it, or correct `image` or imagePullSecrets in spec.template: {_REPLACED}"
        return Obstacle(reason=_PULL_FAILED[0], said=said, mend=mend, container=container.name)
    if reason in _OF_IMAGE:
        mend = f"correct `image` or imagePullPolicy in spec.template: {_REPLACED}"
        return Obstacle(reason=reason, said=said, mend=mend, container=container.name)
    if reason in _OF_CONFIGURATION:
        where = "spec.checkpoint.env" if is_sidecar else "spec.template"
        mend = f"create what is missing, and the pod goes on, or correct {where}: {_REPLACED}"
        return Obstacle(reason=reason, said=said, mend=mend, container=container.name)
    if pod.outcome is not None and pod.role is not Role.ATTEMPT:
        # It has run, and what it said of itself tells more.
        return None
    if is_sidecar and container.exit_reason == OUT_OF_MEMORY:
        # Its log would show nothing but work.
        said = f"{reason}: it ran out of memory ({OUT_OF_MEMORY})"
        mend = "raise sidecar.resources, a value of the operator's chart: the pod is replaced then"
        return Obstacle(reason=reason, said=said, mend=mend, container=container.name)
    mend = f"see `kubectl logs {pod.name} -c {container.name} --previous`"
    return Obstacle(reason=reason, said=said, mend=mend, container=container.name)


def _slow(pod: PodView, *, now: float) -> Obstacle | None:
    taken = _step(_starting_since(pod), now=now)
    if not taken:
        return None
    return Obstacle(
        reason="StillStarting",
        said=f"it has been starting for more than {taken} on node {pod.node}",
        mend=f"a volume, what is in one, or a large image: see `kubectl describe pod {pod.name}`",
    )


def _starting_since(pod: PodView) -> float:
    """Return since when nothing of a pod runs that others wait for (Unix seconds), 0 where something does."""
    if pod.deleted or pod.is_terminal or pod.has_started:
        return 0.0
    if not pod.node:
        return 0.0 if pod.gated or pod.unschedulable else pod.created_at
    containers = [each for each in (pod.restore, *pod.inits, pod.mirror, *pod.mains) if each is not None]
    if not any(each.started or each.exit_code is not None for each in containers):
        return pod.scheduled_at
    own = [each for each in (pod.restore, *pod.inits) if each is not None]
    if not pod.mains or any(init.exit_code is None for init in own):
        # It runs, or what runs before it does: restoring may take long, and says so itself.
        return 0.0
    sidecar = pod.mirror.started_at if pod.mirror is not None else None
    return max([sidecar or 0.0, *(init.finished_at or 0.0 for init in own), pod.scheduled_at])


def _step(since: float, *, now: float) -> str:
    passed = [text for seconds, text in STARTING_STEPS if since and now - since >= seconds]
    return passed[-1] if passed else ""


_Key = TypeVar("_Key")


def _grouped(found: Iterable[tuple[_Key, int]]) -> list[tuple[_Key, list[int]]]:
    groups: dict[_Key, list[int]] = {}
    for key, shard in found:
        groups.setdefault(key, []).append(shard)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _refused(snapshot: Snapshot, records: Sequence[ShardRecord], *, now: float) -> list[Problem]:
    refused: dict[str, Creation] = {}
    of = []
    forbidden = {
        pod.shard: snapshot.forbidden[pod.uid]
        for pod in snapshot.presence.pods
        if snapshot.forbidden and pod.role is Role.ATTEMPT and pod.uid in snapshot.forbidden
    }
    for record in records:
        # That there is no room yet for a successor made ahead of time is no trouble: it has time.
        creation = snapshot.creations.get(record.attempt)
        if (creation is None or not creation.problem) and record.shard in forbidden:
            why = forbidden[record.shard]
            creation = Creation(created_at=now, problem=why.reason, message=why.message, refused_at=now)
        if creation is None or not creation.problem:
            continue
        if record.state is ShardState.WAITING and creation.created_at is None:
            continue  # it was stopped before, and nobody asks for it any more
        newest = refused.get(creation.problem)
        if newest is None or newest.refused_at < creation.refused_at:
            refused[creation.problem] = creation
        of.append((creation.problem, record.shard))
    return [
        Problem(reason=reason, message=f"no pod for {which_shards(shards)}: {refused[reason].message}")
        for reason, shards in _grouped(of)
    ]


def _not_starting(snapshot: Snapshot, records: Sequence[ShardRecord], *, now: float) -> list[Problem]:
    first: dict[tuple[str, str], tuple[PodView, Obstacle]] = {}
    of = []
    problems = []
    pods = snapshot.pods_by_attempt
    for record in records:
        pod = pods.get(record.attempt) if record.state in UNDER_WAY else None
        obstacle = obstacle_of(pod, now=now) if pod is not None else None
        if pod is not None and obstacle is not None:
            key = (obstacle.reason, obstacle.container)
            first.setdefault(key, (pod, obstacle))
            of.append((key, record.shard))
    for key, shards in _grouped(of):
        pod, obstacle = first[key]
        pool = f", pool {snapshot.sweep.spec.pool}" if snapshot.sweep.spec.pool and not pod.node else ""
        who = f"{which_shards(shards)} ({'' if len(shards) == 1 else 'first '}{_pod(pod, obstacle)}{pool})"
        problems.append(Problem(reason=obstacle.reason, message=f"{who}: {obstacle.said}; {obstacle.mend}"))
    return problems


def _pod(pod: PodView, obstacle: Obstacle) -> str:
    return f"pod {pod.name}" + (f", container {obstacle.container}" if obstacle.container else "")
