"""Writes on condition: a real API server refuses those that are meant for another object, or rest on an older one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from sweep_operator.kube.client import ApiError, KubeClient

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(control_plane: Any) -> AsyncIterator[KubeClient]:
    configuration = Configuration()
    await config.load_kube_config(str(control_plane.kubeconfig), client_configuration=configuration)
    connected = KubeClient(configuration)
    yield connected
    await connected.close()


async def test_a_pod_is_not_deleted_for_one_that_had_its_name_before(stage: Any, client: KubeClient) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    first = stage.api.create(stage.pods_path, body)
    path = f"{stage.pods_path}/p"
    await client.delete(path, uid=first["metadata"]["uid"], grace_seconds=0)
    second = stage.api.create(stage.pods_path, body)
    with pytest.raises(ApiError) as refused:
        await client.delete(path, uid=first["metadata"]["uid"], grace_seconds=0)
    assert refused.value.status == 409
    assert stage.api.get(path)["metadata"]["uid"] == second["metadata"]["uid"]
    with pytest.raises(ApiError) as missing:
        await client.delete(f"{stage.pods_path}/nobody", uid="u")
    assert missing.value.status == 404


async def test_a_status_that_rests_on_an_older_sweep_is_not_written(stage: Any, client: KubeClient) -> None:
    stage.apply(items=None, suspend=True)
    stage.wait(lambda: stage.status().get("phase") == "Suspended", "the sweep to be looked at")
    path = f"{stage.sweeps}/lr"
    older = await client.get(path)
    stage.api.patch(path, {"metadata": {"annotations": {"news": "yes"}}})
    with pytest.raises(ApiError) as refused:
        await client.replace(f"{path}/status", {**older, "status": {**older["status"], "phase": "Failed"}})
    assert refused.value.status == 409
    assert stage.status()["phase"] == "Suspended"
    newer = await client.get(path)
    written = await client.replace(f"{path}/status", {**newer, "status": {**newer["status"], "eta": "1s"}})
    assert written["status"]["eta"] == "1s"
