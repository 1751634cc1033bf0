"""Plays scheduler, kubelets and sidecars for the sweeps of some namespaces of a real API server.

What the pods do is real where the operator can tell the difference: their settings are read from the manifests that
the operator wrote, the sidecar's own code writes the shards' logs and merges them, and reports carry tokens bound to
their pods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, get_args

import aiohttp

from fire.journal import Journal, Made
from fire.kube import Kube, Refused
from fire.loop_thread import LoopThread
from fire.machines import RENEWAL_SECONDS, Machine, Machines
from fire.pod_life import PodLife, Stage
from fire.statuses import condition
from resumable_sweep.contract.report import NoticeKind

T = TypeVar("T")
How = Literal["node", "shutdown", "delete", "evict", "silent", "partition", "crash", "kill"]
HOWS: tuple[How, ...] = get_args(How)
_CODES = {"crash": 1, "kill": 137}
_SELECTOR = "resumable.dev/sweep"


@dataclass(kw_only=True)
class _Namespace:
    stage: Stage
    holds: dict[tuple[str, int], int] = field(default_factory=dict)
    held_back: set[tuple[str, str]] = field(default_factory=set)
    lives: dict[str, PodLife] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    always: list[asyncio.Task[None]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Player:
    """A context manager with a thread of its own; its methods may be called from any other.

    Parameters
    ----------
    kubeconfig:
        Of the API server, as administrator.
    folder:
        Empty; takes the pods' disks and, in `store`, what stands for all stores.
    room:
        How many pods a machine takes.
    collect_after:
        Seconds from a Node's end to the collection of its pods; the controller manager takes 40.
    renewal:
        Seconds between two renewals of a machine's Lease; kubelets take 10.
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        folder: Path,
        room: int = 1,
        collect_after: float = 0.3,
        renewal: float = RENEWAL_SECONDS,
    ) -> None:
        self._kubeconfig = kubeconfig
        self.store = folder / "store"
        self._disks = folder / "disks"
        self._room = room
        self._collect_after = collect_after
        self._renewal = renewal
        self._namespaces: dict[str, _Namespace] = {}
        self._unpulled: set[str] = set()
        self._thread = LoopThread("player")
        self._kube = Kube(kubeconfig)

    def __enter__(self) -> Player:
        self.store.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for namespace in list(self._namespaces):
            self.leave(namespace)
        self._do(self._close())
        self._thread.stop()

    def play(self, namespace: str) -> None:
        """Play for all sweeps of a namespace from now on; its pods that are there already come first."""
        self._do(self._play(namespace))

    def leave(self, namespace: str) -> None:
        """End all that is played in a namespace, and take its machines away."""
        self._do(self._leave(namespace))

    def hold(self, namespace: str, shard: int, *, items: int, sweep: str = "lr") -> None:
        """Have a shard's experiment stand still whenever it has recorded so many items."""
        self._namespaces[namespace].holds[sweep, shard] = items

    def release(self, namespace: str, shard: int, *, sweep: str = "lr") -> None:
        """Let a shard's experiment go on to its end."""
        self._namespaces[namespace].holds.pop((sweep, shard), None)
        self._do(self._turn_all(namespace))

    def holds(self, namespace: str, shard: int, *, sweep: str = "lr", attempt: int | None = None) -> int | None:
        """Return the attempt (None: the newest) of a shard if its experiment stands still where it is to wait."""
        life = self._at_work(namespace, shard, sweep, attempt=attempt)
        return life.attempt if life is not None and life.holds else None

    def hold_back(self, namespace: str, role: str, *, sweep: str = "lr") -> None:
        """Give a sweep's pods of a role no machine from now on."""
        self._namespaces[namespace].held_back.add((sweep, role))

    def let_through(self, namespace: str, role: str, *, sweep: str = "lr") -> None:
        """Give a sweep's pods of a role machines again."""
        self._namespaces[namespace].held_back.discard((sweep, role))
        self._do(self._turn_all(namespace))

    def cannot_pull(self, image: str) -> None:
        """Have no machine find that image from now on."""
        self._unpulled.add(image)

    def can_pull(self, image: str) -> None:
        """Have machines find that image again; pods that wait for it stay as they are."""
        self._unpulled.discard(image)

    def announce(self, namespace: str, shard: int, *, seconds: float, sweep: str = "lr") -> int:
        """Have a shard's newest attempt hear that its machine goes in so many seconds, and return its number.

        Raises
        ------
        LookupError
            Where no attempt of that shard is at work.
        """
        life = self._found(namespace, shard, sweep, attempt=None)
        deadline = time.time() + seconds
        self._do(_called(lambda: life.announce(NoticeKind.GCE_PREEMPTED, deadline)))
        return life.attempt

    def lose(self, namespace: str, shard: int, *, how: How, sweep: str = "lr", attempt: int | None = None) -> int:
        """Take away the machine or the pod of an attempt of a shard (None: its newest), and return its number.

        - node: the machine loses power and its Node object goes; then its pods are collected.
        - shutdown: the kubelet ends its pods as at a graceful shutdown of the machine, whose Node object then goes.
        - delete: the pod is deleted, with its own grace.
        - evict: the pod is evicted.
        - silent: the machine loses power, and nobody says so; see `bury`.
        - partition: the machine loses its network alone; its experiment goes on.
        - crash, kill: the experiment ends with exit code 1 or 137.

        Raises
        ------
        LookupError
            Where no attempt of that shard is at work.
        """
        life = self._found(namespace, shard, sweep, attempt=attempt)
        self._do(self._lose(self._namespaces[namespace], life, how))
        return life.attempt

    def bury(self, namespace: str) -> None:
        """Have the cloud delete the Node objects of all machines that are off or cut off."""
        self._do(self._bury(self._namespaces[namespace]))

    def made(self, namespace: str) -> list[Made]:
        """Return all attempts' pods that were ever made in a namespace."""
        return list(self._namespaces[namespace].stage.journal.made)

    def wrong(self, namespace: str) -> list[str]:
        """Return what was seen in a namespace that must never be, and what has failed in here."""
        played = self._namespaces[namespace]
        return [*played.stage.journal.wrong, *played.failures]

    def beside(self, namespace: str) -> list[str]:
        """Return where an attempt was made while nothing was wrong with the one before."""
        return list(self._namespaces[namespace].stage.journal.beside)

    def _found(self, namespace: str, shard: int, sweep: str, *, attempt: int | None) -> PodLife:
        life = self._at_work(namespace, shard, sweep, attempt=attempt)
        if life is None:
            raise LookupError(f"no attempt of shard {shard} of {namespace}/{sweep} is at work")
        return life

    def _at_work(self, namespace: str, shard: int, sweep: str, *, attempt: int | None = None) -> PodLife | None:
        lives = [
            life
            for life in self._namespaces[namespace].lives.values()
            if (life.role, life.sweep, life.shard) == ("attempt", sweep, shard)
            and not life.is_over
            and attempt in (None, life.attempt)
        ]
        return max(lives, key=lambda life: life.attempt, default=None)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.do(work)

    async def _open(self) -> None:
        await self._kube.__aenter__()
        self._session = aiohttp.ClientSession()

    async def _close(self) -> None:
        await self._session.close()
        await self._kube.__aexit__(None, None, None)

    async def _play(self, namespace: str) -> None:
        machines = Machines(self._kube, namespace, room=self._room, renewal=self._renewal)
        holds: dict[tuple[str, int], int] = {}
        held_back: set[tuple[str, str]] = set()
        stage = Stage(
            kube=self._kube,
            session=self._session,
            machines=machines,
            journal=Journal(),
            store=self.store,
            disks=self._disks,
            allowance=lambda sweep, shard: holds.get((sweep, shard)),
            cannot_pull=self._unpulled.__contains__,
            is_held_back=lambda sweep, role: (sweep, role) in held_back,
        )
        played = self._namespaces[namespace] = _Namespace(stage=stage, holds=holds, held_back=held_back)
        path = f"/api/v1/namespaces/{namespace}/pods"
        played.always = [
            asyncio.create_task(self._follow(played, path)),
            asyncio.create_task(machines.renew()),
        ]

    async def _follow(self, played: _Namespace, path: str) -> None:
        async for event in self._kube.follow(path, selector=_SELECTOR):
            pod = event["object"]
            uid = pod["metadata"]["uid"]
            if event["type"] == "DELETED":
                if (task := played.tasks.pop(uid, None)) is not None:
                    task.cancel()
                played.lives.pop(uid, None)
                continue
            life = played.lives.get(uid)
            if life is None and event["type"] == "ADDED":
                if pod["metadata"]["labels"]["resumable.dev/role"] == "attempt":
                    played.stage.journal.note_made(pod, is_current=lambda uid: _is_current(played.lives.get(uid)))
                life = played.lives[uid] = PodLife(played.stage, pod)
                task = played.tasks[uid] = asyncio.create_task(life.live())
                task.add_done_callback(lambda task: _note_failure(played, task))
            if life is not None:
                life.changed(pod)

    async def _leave(self, namespace: str) -> None:
        played = self._namespaces.pop(namespace)
        tasks = [*played.always, *played.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await played.stage.machines.remove_all()

    async def _turn_all(self, namespace: str) -> None:
        for life in self._namespaces[namespace].lives.values():
            life.turn()

    async def _lose(self, played: _Namespace, life: PodLife, how: How) -> None:
        machine = life.machine
        assert machine is not None
        metadata = life.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{life.name}"
        if how == "node":
            self._cut_power(played, machine)
            await self._remove(played, machine)
        elif how == "shutdown":
            await played.stage.machines.shut_down(machine)
            there = [each for each in played.lives.values() if each.machine is machine and not each.is_over]
            await asyncio.gather(*(each.shut_down() for each in there))
            self._cut_power(played, machine)
            await self._remove(played, machine)
        elif how == "delete":
            await self._kube.delete(path)
        elif how == "evict":
            name = {"name": life.name, "namespace": metadata["namespace"]}
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name}
            await self._kube.create(f"{path}/eviction", eviction)
        elif how == "silent":
            self._cut_power(played, machine)
        elif how == "partition":
            machine.reachable = False
            for each in played.lives.values():
                if each.machine is machine:
                    each.cut_off()
        else:
            life.strike(_CODES[how])

    async def _bury(self, played: _Namespace) -> None:
        machines = {life.machine.name: life.machine for life in played.lives.values() if life.machine is not None}
        for machine in machines.values():
            if not (machine.alive and machine.reachable):
                self._cut_power(played, machine)
                await self._remove(played, machine)

    def _cut_power(self, played: _Namespace, machine: Machine) -> None:
        machine.alive = False
        for life in played.lives.values():
            if life.machine is machine and (task := played.tasks.get(life.uid)) is not None:
                task.cancel()

    async def _remove(self, played: _Namespace, machine: Machine) -> None:
        """Be the cloud, which deletes the Node object, and then the collector of pods without a node."""
        await played.stage.machines.remove(machine)
        await asyncio.sleep(self._collect_after)
        for life in [each for each in played.lives.values() if each.machine is machine]:
            metadata = life.pod["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{life.name}"
            disruption = condition(
                "DisruptionTarget", True, reason="DeletionByPodGC", message="PodGC: node no longer exists"
            )
            of_this = {"uid": life.uid}
            try:
                if life.pod["status"].get("phase") not in ("Succeeded", "Failed"):
                    status = {"phase": "Failed", "conditions": [disruption]}
                    await self._kube.patch(f"{path}/status", {"metadata": of_this, "status": status})
                await self._kube.delete(path, {"gracePeriodSeconds": 0, "preconditions": of_this})
            except Refused as error:
                if error.status not in (404, 409, 422):
                    raise


def _is_current(life: PodLife | None) -> bool:
    """Return whether a pod is one with which nothing is wrong."""
    if life is None or life.is_over or life.is_announced or "deletionTimestamp" in life.pod["metadata"]:
        return False
    machine = life.machine
    if machine is not None and not machine.is_schedulable:
        return False
    status = life.pod.get("status") or {}
    return status.get("phase") not in ("Succeeded", "Failed")


async def _called(step: Callable[[], None]) -> None:
    step()


def _note_failure(played: _Namespace, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        played.failures.append(f"the harness failed: {type(error).__name__}: {error}")
