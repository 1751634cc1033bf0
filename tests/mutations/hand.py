"""What people do to a sweep and its pods by hand, beside changing its spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crash.schedules import Schedule
from mutations.played import RETRY, Played, Stuck
from mutations.stage import ApiError, Stage
from mutations.sweeps import sweep_with
from mutations.transition import wrong_with_results

_GROUP = "resumable.dev/"
IN_PHASES = ("pending", "running", "merging", "complete", "failed")


@dataclass(frozen=True)
class Act:
    """Something that a person does; `complains` is the reason of the event by which the operator says no to it."""

    does: Callable[[Played], None]
    complains: str = ""
    phases: tuple[str, ...] = IN_PHASES


def _annotated(name: str, value: str | None) -> Callable[[Played], None]:
    return lambda played: _patched(played, {"annotations": {name: value}})


def _patched(played: Played, metadata: dict[str, Any]) -> None:
    played.stage.api.patch(played.path, {"metadata": metadata})


def _on_first_pod(metadata: dict[str, Any]) -> Callable[[Played], None]:
    def does(played: Played) -> None:
        pod = min(played.pods(), key=lambda pod: str(pod["metadata"]["name"]))
        path = f"/api/v1/namespaces/{played.namespace}/pods/{pod['metadata']['name']}"
        played.stage.api.patch(path, {"metadata": metadata})

    return does


def _keeps_a_finalizer(played: Played) -> None:
    _patched(played, {"finalizers": ["example.com/keeps-it"]})
    _patched(played, {"finalizers": None})


def _deletes_a_pod(played: Played) -> None:
    pod = played.pods()[0]["metadata"]["name"]
    played.stage.api.delete(f"/api/v1/namespaces/{played.namespace}/pods/{pod}")


def _wipes_the_status(played: Played) -> None:
    """Do as a backup does that is restored."""
    played.stage.api.patch(f"{played.path}/status", {"status": None})


_WITH_PODS = ("pending", "running")
ACTS: dict[str, Act] = {
    "retry-nonsense": Act(_annotated(RETRY, "please"), complains="RetryRefused"),
    "retry-beyond": Act(_annotated(RETRY, "0-99999999"), complains="RetryRefused"),
    "retry-huge": Act(_annotated(RETRY, "0-" + "9" * 5000), complains="RetryRefused"),
    "retry-backwards": Act(_annotated(RETRY, "1-0"), complains="RetryRefused"),
    "retry-odd": Act(_annotated(RETRY, "²,\u0663"), complains="RetryRefused"),
    "retry-empty": Act(_annotated(RETRY, "")),
    "retry-unfailed": Act(_annotated(RETRY, "1"), complains="RetryRefused"),
    "annotation": Act(_annotated("example.com/note", "x" * 100_000)),
    "label": Act(lambda played: _patched(played, {"labels": {"team": "b", f"{_GROUP}sweep": "another"}})),
    "finalizer": Act(_keeps_a_finalizer),
    "status-wiped": Act(_wipes_the_status, phases=_WITH_PODS),
    "pod-role": Act(_on_first_pod({"labels": {f"{_GROUP}role": "merge"}}), phases=_WITH_PODS),
    "pod-no-role": Act(_on_first_pod({"labels": {f"{_GROUP}role": None}}), phases=_WITH_PODS),
    "pod-odd-shard": Act(_on_first_pod({"labels": {f"{_GROUP}shard": "x"}}), phases=_WITH_PODS),
    "pod-other-shard": Act(_on_first_pod({"labels": {f"{_GROUP}shard": "1"}}), phases=_WITH_PODS),
    "pod-far-shard": Act(_on_first_pod({"labels": {f"{_GROUP}shard": "77"}}), phases=_WITH_PODS),
    "pod-other-attempt": Act(_on_first_pod({"labels": {f"{_GROUP}attempt": "2"}}), phases=_WITH_PODS),
    "pod-far-attempt": Act(_on_first_pod({"labels": {f"{_GROUP}attempt": "99"}}), phases=_WITH_PODS),
    "pod-other-sweep": Act(_on_first_pod({"labels": {f"{_GROUP}sweep": "another"}}), phases=_WITH_PODS),
    "pod-other-uid": Act(_on_first_pod({"labels": {f"{_GROUP}sweep-uid": "another"}}), phases=_WITH_PODS),
    "pod-annotations": Act(
        _on_first_pod({"annotations": {f"{_GROUP}made-of": None, f"{_GROUP}template-sha256": "x"}}), phases=_WITH_PODS
    ),
    "pod-deleted": Act(_deletes_a_pod, phases=_WITH_PODS),
}


def tried_by_hand(stage: Stage, namespace: str, schedule: Schedule) -> list[str]:
    """Return what went wrong: the sweep comes to the results of one that nobody has touched, and a no is told."""
    act = ACTS[schedule.how]
    played = Played(stage, namespace, sweep_with("shards", phase=schedule.program))
    wrong: list[str] = []
    try:
        played.bring_to(schedule.program)
        act.does(played)
        if act.complains:
            played.wait(lambda: bool(played.events(reason=act.complains)), f"the event {act.complains}")
        played.let_go()
        if schedule.program == "failed":
            played.retry("all")
        played.wait(lambda: played.phase == "Complete", "the end")
        wrong += wrong_with_results(played.status, reference=stage.reference)
        played.wait(lambda: not _left(played), "the pods of attempts to be gone")
    except Stuck as stuck:
        wrong.append(str(stuck))
    finally:
        played.let_go()
    wrong += stage.defects(of=f"{played.namespace}/{played.name}")
    stage.found.append((str(schedule), "by hand", act.complains))
    return wrong


def _left(played: Played) -> list[str]:
    try:
        pods = played.stage.api.get(f"/api/v1/namespaces/{played.namespace}/pods")["items"]
    except ApiError:
        return ["unknown"]
    uid = played.get()["metadata"]["uid"]
    owned = [pod for pod in pods if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())]
    return [pod["metadata"]["name"] for pod in owned if pod["status"].get("phase") not in ("Succeeded", "Failed")]
