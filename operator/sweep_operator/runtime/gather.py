"""Reading all that a decision needs: from the caches, and from the API server only where they do not suffice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from sweep_operator.decide.missing import Sought, is_on_its_way, missing
from sweep_operator.decide.silence import listened_to
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import node_view, pod_view
from sweep_operator.model.observed import Creation, NodeView, PodView, Presence, Role
from sweep_operator.model.snapshot import Snapshot, Sweep
from sweep_operator.pods import names
from sweep_operator.pods.made_of import made_of_sha256
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.lease_watch import LeaseWatch
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.together import cancel
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.work_queue import Key

_T = TypeVar("_T")

REQUESTS_IN_FLIGHT = 50


class Gatherer:
    """Makes snapshots. `clock` gives Unix seconds, `cached_to` the resourceVersion to which pods are known.

    `listening_since` is when this process began to take reports, None where pods are told nobody to report to; it
    counts for nothing while `tokens` may not be reviewed.
    """

    def __init__(
        self,
        *,
        client: KubeClient,
        sweeps: SweepStore,
        pods: PodIndex,
        nodes: Informer[NodeView],
        attempts: Attempts,
        reports: ReportBoard,
        tokens: TokenReviewer,
        settings: PodSettings,
        gate: Gate,
        leases: LeaseWatch,
        clock: Callable[[], float],
        cached_to: Callable[[str], int] = lambda _: 0,
        listening_since: float | None = None,
    ) -> None:
        self._client = client
        self._sweeps = sweeps
        self._pods = pods
        self._nodes = nodes
        self._attempts = attempts
        self._reports = reports
        self._tokens = tokens
        self._settings = settings
        self._gate = gate
        self._leases = leases
        self._clock = clock
        self._cached_to = cached_to
        self._listening_since = listening_since

    def listen_from(self, time: float) -> None:
        """Say since when this process takes reports (Unix seconds)."""
        self._listening_since = time

    async def gather(self, key: Key) -> Snapshot | None:
        """Return what is known about a sweep, None where there is no such sweep.

        Raises
        ------
        ApiError
            Where the API server had to be asked and did not answer.
        ValueError
            Where the object is not a sweep this version understands.
        """
        self._sweeps.settle(key)
        sweep = self._sweeps.sweep(key)
        if sweep is None:
            return None
        current = {attempt for record in sweep.status.records for attempt in record.attempts}
        self._attempts.keep_only(sweep.uid, current)
        heeded = {attempt for record in sweep.status.records for attempt in listened_to(record)}
        self._reports.keep_only(sweep.uid, heeded)
        pods = list(self._pods.pods_of(key, sweep.uid))
        absent = await self._ask_after_missing(sweep, pods)
        # Only now: a pod that has been seen, and that the API server then denies, is gone.
        self._attempts.saw(sweep.uid, {pod.attempt for pod in pods if pod.role is Role.ATTEMPT})
        creations = self._attempts.of(sweep.uid)
        nodes = await self._nodes_of(sweep, pods)
        self._attempts.saw_on(sweep.uid, pods, nodes)
        attentive_since = self._leases.attentive_since()
        return Snapshot(
            sweep=sweep,
            presence=Presence(pods=tuple(pods), nodes=nodes, nodes_visible=not self._nodes.forbidden),
            reports=self._reports.of(sweep.uid),
            creations=creations,
            placements=self._attempts.placements(sweep.uid),
            absent=frozenset(absent),
            forbidden=await self._gate.forbidden(sweep, pods),
            housekeeping=self._housekeeping(sweep, pods),
            heard_at=self._reports.heard_at(sweep.uid),
            attentive_since=attentive_since,
            leases=self._leases.leases(),
            listening_since=None if self._tokens.forbidden else self._listening_since,
            made_of=made_of_sha256(sweep, settings=self._settings),
        )

    async def _ask_after_missing(self, sweep: Sweep, pods: list[PodView]) -> set[int]:
        """Ask the API server for pods that should be there but are not cached, and return the attempts without one."""
        cached = {pod.attempt for pod in pods if pod.role is Role.ATTEMPT}
        self._attempts.saw(sweep.uid, cached)
        sought = missing(
            sweep.status.records,
            pods=pods,
            creations=self._attempts.of(sweep.uid),
            now=self._clock(),
            cached_to=self._cached_to(sweep.namespace),
        )
        found = await _at_once(self._ask_for(sweep, pod) for pod in sought)
        pods += [pod for pod in found if pod is not None]
        return {asked.attempt for asked, pod in zip(sought, found, strict=True) if pod is None}

    async def _ask_for(self, sweep: Sweep, pod: Sought) -> PodView | None:
        name = names.attempt_pod_name(sweep=sweep.name, sweep_uid=sweep.uid, shard=pod.shard, attempt=pod.attempt)
        try:
            return pod_view(await self._client.get(paths.pod(sweep.namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _nodes_of(self, sweep: Sweep, pods: list[PodView]) -> dict[str, NodeView]:
        """Return the nodes that matter to a sweep.

        A node that the cache does not show may be too new for it. Whether it is gone decides about a running attempt,
        so the API server itself is asked.
        """
        named = {pod.node for pod in pods} | {record.node_name for record in sweep.status.records}
        nodes = {name: node for name in named if (node := self._nodes.get("", name)) is not None}
        if not self._nodes.forbidden:
            current = {attempt for record in sweep.status.records for attempt in record.attempts}
            awaited = {pod.node for pod in pods if pod.role is not Role.ATTEMPT or pod.attempt in current}
            unknown = sorted(awaited - nodes.keys() - {""})
            found = await _at_once(self._ask_for_node(name) for name in unknown)
            nodes |= {name: node for name, node in zip(unknown, found, strict=True) if node is not None}
        return nodes

    async def _ask_for_node(self, name: str) -> NodeView | None:
        try:
            return node_view(await self._client.get(paths.node(name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _housekeeping(self, sweep: Sweep, pods: list[PodView]) -> dict[str, Creation]:
        """Return the housekeeping pods under way; one that is gone may be made again, its name keeps it single."""
        there = {pod.role for pod in pods}
        for role, creation in self._attempts.housekeeping_of(sweep.uid).items():
            if role not in there and not is_on_its_way(creation, now=self._clock()):
                self._attempts.forget_housekeeping(sweep.uid, role)
        return self._attempts.housekeeping_of(sweep.uid)


async def _at_once(requests: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the answers, in order: that there are many to ask for must not make the look long, nor be a flood."""
    in_flight = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
    wanted = list(requests)

    async def bounded(request: Coroutine[Any, Any, _T]) -> _T:
        async with in_flight:
            return await request

    tasks = [asyncio.ensure_future(bounded(request)) for request in wanted]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # The first that fails ends the look, and the next look asks anew: it must not ask beside those of this one.
        await cancel(tasks)
        for request in wanted:
            request.close()
