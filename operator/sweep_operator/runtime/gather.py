"""Reading all that a decision needs: from the caches, and from the API server only where they do not suffice."""

from __future__ import annotations

from collections.abc import Callable

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import pod_view
from sweep_operator.model.observed import Creation, NodeView, PodView, Presence, Role
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.snapshot import Snapshot, Sweep
from sweep_operator.pods import names
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.translation import sweep_of
from sweep_operator.runtime.work_queue import Key

CACHE_LAG_SECONDS = 5.0
"""For so long a pod that was just created may be missing from the cache without being asked after."""

_CURRENT = (ShardState.ACTIVE, ShardState.LEAVING, ShardState.STOPPING)


class Gatherer:
    """Makes snapshots. `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        client: KubeClient,
        sweeps: SweepStore,
        pods: PodIndex,
        nodes: Informer[NodeView],
        attempts: Attempts,
        reports: ReportBoard,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._sweeps = sweeps
        self._pods = pods
        self._nodes = nodes
        self._attempts = attempts
        self._reports = reports
        self._clock = clock

    async def gather(self, key: Key) -> Snapshot | None:
        """Return what is known about a sweep, None where there is no such sweep.

        Raises
        ------
        ApiError
            Where the API server had to be asked and did not answer.
        ValueError
            Where the object is not a sweep this version understands.
        """
        manifest = self._sweeps.get(key)
        if manifest is None:
            return None
        sweep = sweep_of(manifest)
        current = {record.attempt for record in sweep.status.records if record.attempt}
        self._attempts.keep_only(sweep.uid, current)
        self._reports.keep_only(sweep.uid, current)
        pods = list(self._pods.pods_of(key, sweep.uid))
        self._attempts.saw(sweep.uid, {pod.attempt for pod in pods if pod.role is Role.ATTEMPT})
        creations = self._attempts.of(sweep.uid)
        absent = await self._ask_after_missing(sweep, pods, creations)
        named = {pod.node for pod in pods} | {record.node_name for record in sweep.status.records}
        nodes = {name: node for name in named if (node := self._nodes.get("", name)) is not None}
        return Snapshot(
            sweep=sweep,
            presence=Presence(pods=tuple(pods), nodes=nodes, nodes_visible=not self._nodes.forbidden),
            reports=self._reports.of(sweep.uid),
            creations=creations,
            absent=frozenset(absent),
            housekeeping=self._housekeeping(sweep, pods),
        )

    async def _ask_after_missing(self, sweep: Sweep, pods: list[PodView], creations: dict[int, Creation]) -> set[int]:
        """Ask the API server for pods that should be there but are not cached, and return the attempts without one."""
        absent = set()
        cached = {pod.attempt for pod in pods if pod.role is Role.ATTEMPT}
        for record in sweep.status.records:
            if record.state not in _CURRENT or record.attempt in cached:
                continue
            creation = creations.get(record.attempt)
            if creation is not None and self._is_on_its_way(creation):
                continue
            pod = await self._ask_for(sweep, record)
            if pod is None:
                absent.add(record.attempt)
            else:
                pods.append(pod)
        return absent

    def _is_on_its_way(self, creation: Creation) -> bool:
        if creation.seen:
            return False
        return creation.created_at is None or self._clock() < creation.created_at + CACHE_LAG_SECONDS

    async def _ask_for(self, sweep: Sweep, record: ShardRecord) -> PodView | None:
        name = names.attempt_pod_name(sweep=sweep.name, sweep_uid=sweep.uid, shard=record.shard, attempt=record.attempt)
        try:
            return pod_view(await self._client.get(paths.pod(sweep.namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _housekeeping(self, sweep: Sweep, pods: list[PodView]) -> dict[str, Creation]:
        """Return the housekeeping pods under way; one that is gone may be made again, its name keeps it single."""
        there = {pod.role for pod in pods}
        for role, creation in self._attempts.housekeeping_of(sweep.uid).items():
            if role not in there and not self._is_on_its_way(creation):
                self._attempts.forget_housekeeping(sweep.uid, role)
        return self._attempts.housekeeping_of(sweep.uid)
