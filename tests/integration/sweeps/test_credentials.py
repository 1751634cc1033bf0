"""The operator's own token is replaced, as the kubelet does it, and the old one ends: on a real API server."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from integration.sweeps.door import Door
from rig.api import Api
from rig.control_plane import ControlPlane
from sweep_operator.api import API_VERSION, KIND
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.runtime.shell import watch_sweeps
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import WorkQueue

pytestmark = pytest.mark.integration

NAMESPACE = "rotation"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
SWEEPS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/resumablesweeps"
_numbers = itertools.count()


class Pod:
    """What a kubelet gives a pod: a folder with the token of its account, which it replaces in one piece.

    The API server takes a token for as long as the object lives that it is bound to: deleting that ends the token.
    """

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self._bound = ""

    def rotate(self) -> None:
        """Put a new token in the old one's place, and end the old one."""
        name = f"token-{next(_numbers)}"
        secret = self._api.create(f"{CORE}/secrets", {"metadata": {"name": name}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": name, "uid": secret["metadata"]["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound, "expirationSeconds": 600},
        }
        answer = self._api.create(f"{CORE}/serviceaccounts/operator/token", request)
        new = self._folder / "new"
        new.write_text(answer["status"]["token"])
        new.replace(self._folder / "token")
        self.end()
        self._bound = name

    def end(self) -> None:
        """End the token."""
        if self._bound:
            self._api.delete(f"{CORE}/secrets/{self._bound}")


@pytest.fixture
def door(control_plane: ControlPlane) -> Iterator[Door]:
    with Door(control_plane.layout.api_port) as between:
        yield between


@pytest.fixture(scope="module")
def account(api: Api) -> Iterator[None]:
    """A service account that may do everything: its rights are not what is asked here."""
    api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    api.create(f"{CORE}/serviceaccounts", {"metadata": {"name": "operator"}})
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": NAMESPACE}
    role = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
    api.create(bindings, {"metadata": {"name": NAMESPACE}, "subjects": [subject], "roleRef": role})
    yield
    api.delete(f"{bindings}/{NAMESPACE}")


@pytest.fixture
def pod(
    account: None, control_plane: ControlPlane, api: Api, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Pod, Path]]:
    config = json.loads(control_plane.kubeconfig.read_text())
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(authority))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(door.port))
    made = Pod(api, tmp_path)
    made.rotate()
    yield made, tmp_path
    for sweep in api.get(SWEEPS)["items"]:
        api.delete(f"{SWEEPS}/{sweep['metadata']['name']}")


def apply(api: Api, name: str) -> None:
    spec = {
        "shards": 1,
        "checkpoint": {"url": "gs://bucket", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
    }
    api.create(SWEEPS, {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec})


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.2)


async def is_refused(client: KubeClient) -> bool:
    try:
        await client.get(CORE)
    except ApiError as error:
        if error.status != 401:
            raise
        return True
    return False


async def watched(client: KubeClient, sweeps: SweepStore) -> None:
    await watch_sweeps(client, sweeps, namespaces=[NAMESPACE], restore_signals=lambda: None)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
async def test_requests_and_watches_go_on_when_the_token_is_replaced(
    api: Api, door: Door, pod: tuple[Pod, Path], late: bool
) -> None:
    kubelet, folder = pod
    client, stale = await KubeClient.connect(account=folder), await KubeClient.connect(account=folder)
    # As a client would be that reads its token once.
    stale._configuration.refresh_api_key_hook = None
    sweeps = SweepStore(WorkQueue())

    async def has(name: str) -> bool:
        return (NAMESPACE, name) in sweeps.all_keys()

    watching = asyncio.ensure_future(watched(client, sweeps))
    try:
        apply(api, "before")
        await until(lambda: has("before"))
        assert not await is_refused(stale)
        if late:
            kubelet.end()
        else:
            kubelet.rotate()
        # The API server remembers for ten seconds whom it took a token for.
        await until(lambda: is_refused(stale))
        # A watch that is open is not asked for its token again: the next one is.
        door.shut()
        door.open()
        if late:
            knocks = door.knocks

            async def has_been_refused() -> bool:
                return door.knocks > knocks + 3

            await until(has_been_refused)
            assert await is_refused(client)
            kubelet.rotate()
        assert not await is_refused(client)
        apply(api, "after")
        await until(lambda: has("after"))
        assert not watching.done()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()
        await stale.close()

        async def all_have_left() -> bool:
            return door.is_empty()

        # Connections under TLS close some turns of the loop later.
        await until(all_have_left)
