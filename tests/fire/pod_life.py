"""The life of one pod, from the scheduler's binding to the kubelet's word that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from fire.attempt import Attempt, housekeeping
from fire.journal import Journal
from fire.kube import Json, Kube, Refused
from fire.machines import Machine, Machines
from fire.reporter import Reporter
from fire.statuses import condition, ended, now, running, waiting
from resumable_sweep.contract.report import Experiment, NoticeKind

_GONE = (404, 409, 422)
"""What a kubelet hears who speaks of a pod that is gone, or that another one of its name has followed."""
_ASK_AGAIN_S = 0.1
_ASK_FOR_S = 20.0
_TERMINATED = 143
_SHUTDOWN = "Pod was terminated in response to imminent node shutdown."


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the pods of one namespace have in common.

    `allowance` tells how many items a shard of a sweep may have recorded by now: None for all. `is_held_back` tells
    whether a sweep's pods of a role get no machine yet.
    """

    kube: Kube
    session: aiohttp.ClientSession
    machines: Machines
    journal: Journal
    store: Path
    disks: Path
    allowance: Callable[[str, int], int | None]
    cannot_pull: Callable[[str], bool]
    is_held_back: Callable[[str, str], bool]


class PodLife:
    """One pod; `changed` is to be called with every version of it that the API shows."""

    def __init__(self, stage: Stage, pod: Json) -> None:
        self._stage = stage
        self.pod = pod
        metadata = pod["metadata"]
        labels = metadata["labels"]
        self.uid: str = metadata["uid"]
        self.name: str = metadata["name"]
        self.sweep: str = labels["resumable.dev/sweep"]
        self.role: str = labels["resumable.dev/role"]
        self.shard = int(labels.get("resumable.dev/shard", 0))
        self.attempt = int(labels.get("resumable.dev/attempt", 0))
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{self.name}"
        self.machine: Machine | None = None
        self.holds = False
        """Whether the experiment stands still where it is to wait."""
        self.is_announced = False
        """Whether the cloud has said that it takes the machine away."""
        self._over = asyncio.Event()
        self._ending = asyncio.Event()
        self._deleted = asyncio.Event()
        self._turned = asyncio.Event()
        self._struck: int | None = None
        self._shutdown = False
        self._reporter: Reporter | None = None
        self._statuses: dict[str, Json] = {}
        self._since: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._over.is_set()

    def changed(self, pod: Json) -> None:
        """Take in what the API shows of the pod."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()
            self.end()

    def end(self) -> None:
        """Be told to end, as by SIGTERM."""
        self._ending.set()
        self.turn()

    def turn(self) -> None:
        """Have the experiment look again how far it may go."""
        self._turned.set()

    def strike(self, code: int) -> None:
        """Have the experiment's containers end with that exit code, whatever it was at."""
        self._struck = code
        self.turn()

    def announce(self, kind: NoticeKind, deadline: float) -> None:
        """Hear from the cloud that the machine will be taken away (`deadline`: Unix seconds)."""
        self.is_announced = True
        if self._reporter is not None:
            self._reporter.announce(kind, deadline)

    def cut_off(self) -> None:
        """Lose the network."""
        if self._reporter is not None:
            self._reporter.online.clear()

    async def shut_down(self) -> None:
        """End as the kubelet ends its pods when the machine shuts down."""
        self._shutdown = True
        self.end()
        await self._over.wait()

    async def live(self) -> None:
        """Be the pod, until it is gone or its machine is."""
        try:
            await self._come_up()
            play = self._play_attempt if self.role == "attempt" else self._play_housekeeping
            await play()
            self._over.set()
            if self.machine is not None:
                self.machine.pods.discard(self.uid)
            await self._deleted.wait()
            # The kubelet's word that nothing of it runs any more.
            await self._stage.kube.delete(self._path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
        except Refused as error:
            if error.status not in _GONE:
                raise
        finally:
            self._over.set()
            if self.machine is not None:
                self.machine.pods.discard(self.uid)

    async def _come_up(self) -> None:
        node = self.pod["spec"].get("nodeName", "")
        known = self._stage.machines.of(node) if node else None
        if known is not None:
            self.machine = known
            known.pods.add(self.uid)
            return
        while self._stage.is_held_back(self.sweep, self.role):
            self._turned.clear()
            await self._turned.wait()
        self.machine = await self._stage.machines.place(self.pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": self.machine.name}
        metadata = {"name": self.name, "uid": self.uid}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        await self._stage.kube.create(f"{self._path}/binding", binding)

    async def _play_attempt(self) -> None:
        spec, stage = self.pod["spec"], self._stage
        loop = asyncio.get_running_loop()
        reporter = self._reporter = Reporter(stage.kube, stage.session, self.pod)
        attempt = Attempt(
            self.pod,
            folder=stage.disks / self.uid,
            store=stage.store,
            tell=lambda report: loop.call_soon_threadsafe(reporter.note, report),
            is_ending=self._ending.is_set,
            hush=lambda: asyncio.run_coroutine_threadsafe(reporter.hush(), loop).result(),
            numbers=reporter.numbers,
        )
        reporter.report_to(attempt.report_url, heard=attempt.hear)
        if self.machine is not None and not self.machine.reachable:
            reporter.online.clear()
        inits, mains = spec["initContainers"], spec["containers"]
        restore, mirror, *others = inits
        for container in (*inits, *mains):
            self._statuses[container["name"]] = waiting(container)
        unpulled = next((each for each in (*inits, *mains) if stage.cannot_pull(each["image"])), None)
        if unpulled is not None:
            said = f'Back-off pulling image "{unpulled["image"]}"'
            self._statuses[unpulled["name"]] = waiting(unpulled, "ImagePullBackOff", said)
            await self._publish("Pending")
            await self._ending.wait()
            await self._publish("Failed")
            return
        self._run(restore)
        await self._publish("Pending")
        pushing = asyncio.create_task(reporter.run())
        try:
            code, outcome = await asyncio.to_thread(attempt.restore)
            self._end(restore, code, outcome.to_json())
            if code or self._ending.is_set():
                await self._publish("Failed")
                return
            await asyncio.to_thread(attempt.begin)
            for container in (mirror, *others, *mains):
                self._run(container)
            for container in others:
                if container.get("restartPolicy") != "Always":
                    self._end(container, 0)
            await self._publish("Running")
            with stage.journal.running(self.pod):
                exit_code = await self._experiment(attempt)
            for container in mains:
                self._end(container, exit_code)
            await self._publish("Running")
            await asyncio.to_thread(attempt.finish, lambda: self._ask(attempt, loop))
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await reporter.push(attempt.report)
        for container in others:
            if container.get("restartPolicy") == "Always":
                self._end(container, 0)
        self._end(mirror, 0, attempt.last_words().to_json())
        await self._publish("Failed" if exit_code else "Succeeded")

    async def _experiment(self, attempt: Attempt) -> int:
        """Record items as far as allowed, and return the exit code."""
        while True:
            self._turned.clear()
            if self._struck is not None:
                return self._struck
            if self._ending.is_set():
                return _TERMINATED
            is_all = await asyncio.to_thread(attempt.record, up_to=self._stage.allowance(self.sweep, self.shard))
            await asyncio.to_thread(attempt.look)
            if is_all:
                return 0
            self.holds = True
            await self._turned.wait()
            self.holds = False

    def _ask(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Experiment:
        """Be the mirror that asks how the experiment's containers have ended; in a thread of its own."""
        reporter = self._reporter
        assert reporter is not None

        async def ask() -> Experiment:
            async with asyncio.timeout(_ASK_FOR_S):
                while not self._ending.is_set():
                    answer = await reporter.push(attempt.sealing())
                    if answer is not None and answer.experiment in (Experiment.SUCCEEDED, Experiment.FAILED):
                        return answer.experiment
                    await asyncio.sleep(_ASK_AGAIN_S)
            return Experiment.UNKNOWN

        try:
            return asyncio.run_coroutine_threadsafe(ask(), loop).result()
        except TimeoutError:
            return Experiment.UNKNOWN

    async def _play_housekeeping(self) -> None:
        container = self.pod["spec"]["containers"][0]
        if self._stage.cannot_pull(container["image"]):
            said = f'Back-off pulling image "{container["image"]}"'
            self._statuses[container["name"]] = waiting(container, "ImagePullBackOff", said)
            await self._publish("Pending")
            await self._ending.wait()
            await self._publish("Failed")
            return
        items = await self._mounted_items()
        self._run(container)
        await self._publish("Running")
        while True:
            code, outcome = await asyncio.to_thread(
                housekeeping,
                container,
                self.pod,
                store=self._stage.store,
                items=items,
                scratch=self._stage.disks / self.uid,
            )
            self._end(container, code, outcome.to_json())
            if not code or self.pod["spec"]["restartPolicy"] == "Never" or self._ending.is_set():
                await self._publish("Failed" if code else "Succeeded")
                return
            last = self._statuses[container["name"]]["state"]
            again = waiting(container, "CrashLoopBackOff", "back-off restarting failed container")
            self._statuses[container["name"]] = again | {"lastState": last, "restartCount": 1}
            await self._publish("Running")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ending.wait()

    async def _mounted_items(self) -> str:
        volumes = self.pod["spec"].get("volumes") or ()
        source = next((volume["configMap"] for volume in volumes if "configMap" in volume), None)
        if source is None:
            return ""
        path = f"{self._path.rpartition('/pods/')[0]}/configmaps/{source['name']}"
        return str((await self._stage.kube.get(path))["data"][source["items"][0]["key"]])

    def _run(self, container: Json) -> None:
        self._since[container["name"]] = now()
        self._statuses[container["name"]] = running(container, self._since[container["name"]])

    def _end(self, container: Json, code: int, message: str = "") -> None:
        since = self._since.get(container["name"], now())
        self._statuses[container["name"]] = ended(container, code, since=since, message=message)

    async def _publish(self, phase: str) -> None:
        assert self.machine is not None
        if self._reporter is not None:
            await self._reporter.online.wait()
        spec = self.pod["spec"]
        status: Json = {"phase": phase, "conditions": [condition("Initialized", phase != "Pending")]}
        for field, containers in (("initContainerStatuses", "initContainers"), ("containerStatuses", "containers")):
            status[field] = [
                self._statuses[container["name"]]
                for container in spec.get(containers) or ()
                if container["name"] in self._statuses
            ]
        if self._shutdown and phase in ("Failed", "Succeeded"):
            # Whatever the containers' codes: the kubelet has ended the pod.
            status |= {"phase": "Failed", "reason": "Terminated", "message": _SHUTDOWN}
            status["conditions"].append(condition("DisruptionTarget", True, reason="TerminationByKubelet"))
        await _again(lambda: self._stage.kube.patch(f"{self._path}/status", self._of_this_pod(status)))

    def _of_this_pod(self, status: Json) -> Json:
        return {"metadata": {"uid": self.uid}, "status": status}


async def _again(step: Callable[[], Awaitable[Json]]) -> None:
    for pause in (0.1, 0.5, 2.0):
        try:
            await step()
            return
        except Refused as error:
            if 0 < error.status < 500:
                raise
            await asyncio.sleep(pause)
    await step()
