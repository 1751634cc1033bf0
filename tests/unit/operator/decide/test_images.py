from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, crashed, ended, main, placed, pod, snapshot, sweep
from hypothesis import given
from hypothesis import strategies as st

from sweep_operator.decide.images import DIGESTS_KEPT, Images, drift_of, known_images
from sweep_operator.decide.sweep import decide
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import DeletePod, Plan
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = "r/main:1"


def running(attempt: int = 1, digest: str = A, *, shard: int = 0, image: str = IMAGE, **fields: Any) -> PodView:
    """An attempt's pod whose main runs `image` in the form `digest`."""
    image_id = f"r/main@{digest}" if digest else ""
    return pod(attempt, shard=shard, **{"mains": (main(image=image, image_id=image_id),), **fields})


def test_the_first_attempt_says_what_an_image_is() -> None:
    pods = [running(3, B, shard=1), running(2, A), running(4, "", image="r/unknown:1")]
    assert known_images({}, pods, may_drift=False) == {IMAGE: (A,)}
    assert known_images({IMAGE: (B,)}, pods, may_drift=False) == {IMAGE: (B,)}


def test_an_image_that_is_pinned_is_not_remembered() -> None:
    image = f"r/main@{A}"
    assert known_images({}, [running(image=image)], may_drift=False) == {}
    assert drift_of(running(digest=B, image=image), {image: (A,)}) == ""


def test_what_is_allowed_stays_so() -> None:
    known = known_images({IMAGE: (A,)}, [running(7, B)], may_drift=True)
    assert known == {IMAGE: (A, B)}
    for digest in (A, B):
        assert drift_of(running(digest=digest), known) == ""
    many = [running(number, f"sha256:{number:064}") for number in range(1, 40)]
    assert len(known_images(known, many, may_drift=True)[IMAGE]) == DIGESTS_KEPT


def test_the_two_forms_of_a_digest_are_not_held_against_each_other() -> None:
    loaded = running(mains=(main(image=IMAGE, image_id=B),))
    assert drift_of(loaded, {IMAGE: (A,)}) == ""
    known = known_images({IMAGE: (A,)}, [loaded], may_drift=False)
    assert known == {IMAGE: (A, f"loaded-{B}")}
    other = drift_of(running(mains=(main(image=IMAGE, image_id=A),)), known)
    assert f"with digest loaded-{A}" in other
    assert "Load the same image into all nodes; or" in other
    assert drift_of(running(digest=B), known).startswith("container main runs")


def test_what_is_said_names_the_container_the_digests_and_the_mends() -> None:
    assert drift_of(running(digest=B), {IMAGE: (A,)}) == (
        f"container main runs {IMAGE} with digest {B}, and the results so far come from {A}. Name the image by its "
        f"digest (r/main@{A}); or, where the results so far are as good, set spec.allowDrift to [Images]"
    )
    for fine in (running(), running(digest=""), running(digest=B, image="r/main:2"), None):
        assert drift_of(fine, {IMAGE: (A,)}) == ""


def decided(*pods: PodView, state: ShardState = ShardState.ACTIVE, **spec: Any) -> Plan:
    of = sweep([placed(0, state, attempt=2)], status={"images": {IMAGE: (A,)}, "attempts": 2}, **spec)
    return decide(snapshot(of, *pods), NOW)


def test_an_attempt_with_another_image_is_ended_at_once() -> None:
    plan = decided(running(2, B))
    (record,) = plan.status.records
    assert (record.state, record.signal, record.user_failures) == (ShardState.WAITING, Signal.DRIFT, 1)
    (deletion,) = plan.actions
    assert isinstance(deletion, DeletePod)
    assert (deletion.pod.attempt, deletion.grace_seconds) == (2, 1)
    (event,) = plan.events
    assert (event.reason, event.warning) == ("Drift", True)
    assert event.message.startswith(f"shard 0, attempt 2 on node-a: container main runs {IMAGE} with digest {B}")
    assert event.message.endswith("set spec.allowDrift to [Images]; failure 1 of at most 3, again in 5 s")
    (healthy,) = [condition for condition in plan.status.conditions if condition.type == "Healthy"]
    assert (healthy.status, healthy.reason) == (False, "Drift")
    assert f"digest {B}, and the results so far come from {A}" in healthy.message
    # The message outlives the pod.
    of = sweep([record], status={"images": {IMAGE: (A,)}, "attempts": 2, "conditions": plan.status.conditions})
    (later,) = [one for one in decide(snapshot(of), NOW + 1).status.conditions if one.type == "Healthy"]
    assert later.message == healthy.message


def test_the_budget_is_that_of_failures() -> None:
    plan = decided(running(2, B), user_failures=0)
    (record,) = plan.status.records
    assert record.state is ShardState.FAILED
    assert [event.reason for event in plan.events] == ["ShardFailed", "Failed"]


def test_where_images_may_drift_the_attempt_goes_on() -> None:
    plan = decided(running(2, B), images_may_drift=True)
    assert plan.status.records[0].state is ShardState.ACTIVE
    assert (plan.actions, plan.events) == ((), ())
    assert plan.status.images == {IMAGE: (A, B)}


def test_the_same_image_goes_on() -> None:
    plan = decided(running(2, A))
    assert (plan.actions, plan.events, plan.status.images) == ((), (), {IMAGE: (A,)})


@pytest.mark.parametrize(
    ("found", "signal"),
    [
        (crashed(attempt=2), Signal.DRIFT),
        (pod(2, phase="Failed", disruption="EvictionByEvictionAPI", mains=(ended(143),)), Signal.EVICTED),
        (pod(2, phase="Succeeded", mains=(ended(0),)), Signal.UNPROVEN),
    ],
)
def test_what_another_image_recorded_is_never_passed_over_in_silence(found: PodView, signal: Signal) -> None:
    (container,) = found.mains
    drifted = running(
        2,
        B,
        phase=found.phase,
        disruption=found.disruption,
        mains=(main(image=IMAGE, image_id=f"r/main@{B}", exit_code=container.exit_code),),
    )
    plan = decided(drifted)
    assert plan.status.records[0].signal is signal
    said = [event for event in plan.events if event.reason == "Drift"]
    assert len(said) == 1
    assert ("what it has recorded counts, although" in said[0].message) is (signal is not Signal.DRIFT)


def test_an_attempt_that_is_being_stopped_is_stopped() -> None:
    plan = decided(running(2, B), state=ShardState.STOPPING)
    assert plan.status.records[0].state is ShardState.STOPPING
    assert plan.events == ()


seen = st.lists(st.lists(st.sampled_from([A, B, "", f"loaded {A}", f"loaded {B}"]), max_size=4), max_size=8)


@given(seen)
def test_all_that_is_let_run_is_one_image(looks: list[list[str]]) -> None:
    """Whatever attempts start in whatever order, and however often somebody looks: of each kind one digest stays."""
    images: Images = {}
    attempt = 0
    stayed: set[str] = set()
    for look in looks:
        pods = []
        for said in look:
            attempt += 1
            kind, _, digest = said.rpartition(" ")
            image_id = digest if kind or not digest else f"r/main@{digest}"
            pods.append(running(attempt, mains=(main(image=IMAGE, image_id=image_id),)))
        images = known_images(images, pods, may_drift=False)
        assert known_images(images, pods, may_drift=False) == images
        stayed |= {pod.mains[0].image_id for pod in pods if pod.mains[0].image_id and not drift_of(pod, images)}
    assert len({image_id for image_id in stayed if "@" in image_id}) <= 1
    assert len({image_id for image_id in stayed if "@" not in image_id}) <= 1
