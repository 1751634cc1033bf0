from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import manifest, sweep

from sweep_operator.kube.projection import pod_view
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.housekeeping_pod import housekeeping_pod_for
from sweep_operator.pods.made_of import made_of_sha256
from sweep_operator.pods.settings import PodSettings

SETTINGS = PodSettings(sidecar_image="sidecar:1")
POOL = {"pools": [{"name": "spot", "nodeSelector": {"spot": "true"}}]}
OTHER_IMAGE = {"spec": {"containers": [{"name": "main", "image": "main:2"}]}}
WITH_ENV = {"url": "gs://bucket/sweeps/", "file": "results.jsonl", "env": [{"name": "KEY", "value": "x"}]}


def digest(settings: PodSettings = SETTINGS, **spec: Any) -> str:
    return made_of_sha256(sweep(manifest=manifest(**spec)), settings=settings)


@pytest.mark.parametrize(
    "spec",
    [{"template": OTHER_IMAGE}, {"placement": POOL}, {"checkpoint": WITH_ENV}],
    ids=["an image", "a pool", "a secret's name"],
)
def test_whatever_may_mend_a_pod_changes_it(spec: dict[str, Any]) -> None:
    assert digest(**spec) != digest()


@pytest.mark.parametrize("settings", [replace(SETTINGS, sidecar_image="sidecar:2"), replace(SETTINGS, resources={})])
def test_so_does_the_installation(settings: PodSettings) -> None:
    assert digest(settings) != digest()


def test_what_decides_only_how_many_pods_there_are_does_not() -> None:
    assert digest(parallelism=1, suspend=True) == digest()


def test_pods_say_it_whatever_their_template_says() -> None:
    liar = {**OTHER_IMAGE, "metadata": {"annotations": {"resumable.dev/made-of-sha256": "lie"}}}
    of = sweep(manifest=manifest(template=liar))
    order = CreateAttempt(shard=0, attempt=1, resumes=False)
    attempt = pod_for(of, order, settings=SETTINGS, stop_path="/stopping/x")
    chore = housekeeping_pod_for(of, Role.RESOLVE, settings=SETTINGS)
    for made in (attempt, chore):
        view = pod_view({**made, "metadata": {**made["metadata"], "uid": "u"}})
        assert view is not None
        assert view.made_of == made_of_sha256(of, settings=SETTINGS)


@pytest.mark.parametrize(("allowed", "said"), [(None, "WhileEmpty"), (["Images"], "Images,WhileEmpty")])
def test_a_sidecar_is_told_that_nothing_has_run_yet(allowed: list[str] | None, said: str) -> None:
    of = sweep(manifest=manifest(allowDrift=allowed))
    for order, expected in (
        (CreateAttempt(shard=0, attempt=2, resumes=True, while_empty=True), said),
        (CreateAttempt(shard=0, attempt=2, resumes=True), ",".join(allowed or [])),
    ):
        made = pod_for(of, order, settings=SETTINGS, stop_path="/stopping/x")
        for own in made["spec"]["initContainers"]:
            assert {"name": "SWEEP_ALLOW_DRIFT", "value": expected} in own["env"]
