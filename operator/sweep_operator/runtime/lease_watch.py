"""The Leases of those nodes from where a report is missing: read while there is a suspicion, and never else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweep_operator.decide.silence import silence_of, suspects
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.observed import Role
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.model.snapshot import Sweep
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
READ_AGAIN_SECONDS = 1.0
MOST_READS = 50
"""So many Leases are read in one look at most, those first that were not read for the longest time."""
ASK_AGAIN_SECONDS = 10.0
"""A sweep that was looked at for a node's silence, and to no effect, is looked at again so much later."""
_READ_SECONDS = 5.0
FORBIDDEN_SECONDS = 300.0
_FRESH_SECONDS = 10.0
_LEASE_SECONDS = 40
"""How long a node's Lease is valid (KubeletConfiguration.nodeLeaseDurationSeconds), where it does not say so."""
_RENEWALS_IN_A_LEASE = 4
"""pkg/kubelet: nodeLeaseRenewIntervalFraction is 0.25."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a Lease has said from `since` to `until` (monotonic seconds)."""

    said: tuple[str, str]
    renewal_seconds: float
    since: float
    until: float


@dataclass(frozen=True, kw_only=True)
class _Suspect:
    """A shard from whose attempt a report is missing, and the node that it runs on."""

    key: Key
    sweep: Sweep
    record: ShardRecord
    node: str
    heard_at: Mapping[int, float]


class LeaseWatch:
    """Reads Leases, and has sweeps looked at whose nodes were silent for as long as a verdict needs.

    `clock` is monotonic, `wall` gives Unix seconds; `attention` is None where pods report to nobody.
    """

    def __init__(
        self,
        *,
        client: KubeClient,
        sweeps: SweepStore,
        pods: PodIndex,
        reports: ReportBoard,
        queue: WorkQueue,
        attention: Attention | None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sweeps = sweeps
        self._pods = pods
        self._reports = reports
        self._queue = queue
        self._attention = attention
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._readings: dict[str, _Reading] = {}
        self._asked_at: dict[str, float] = {}
        self._told_at: dict[tuple[str, int], float] = {}
        self._attentive_since: float | None = None
        self._forbidden_until = 0.0

    def attentive_since(self) -> float | None:
        """Return since when reports were heard without a pause (Unix seconds), None where none can come."""
        if self._attention is None:
            return None
        since = self._attention.since()
        if since != self._attentive_since:
            # What was seen before a pause of our own belongs to another time.
            self._readings.clear()
            self._attentive_since = since
        return since

    def leases(self) -> dict[str, LeaseView]:
        """Return what is known at this moment of the Leases under watch, by node."""
        fresh = self._clock() - _FRESH_SECONDS
        return {
            node: LeaseView(unrenewed_seconds=reading.until - reading.since, renewal_seconds=reading.renewal_seconds)
            for node, reading in self._readings.items()
            if reading.until >= fresh
        }

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Read the Leases that there is a reason to read, and queue the sweeps for which that may lead to a verdict."""
        found = self._suspects()
        nodes = {suspect.node for suspect in found}
        self._readings = {node: reading for node, reading in self._readings.items() if node in nodes}
        # Kept apart from the readings: Leases that cannot be read must not be asked for before all others for ever.
        self._asked_at = {node: self._asked_at.get(node, 0.0) for node in nodes}
        await asyncio.gather(*(self._read(node) for node in self._due()))
        self._tell(found)

    def _tell(self, found: Iterable[_Suspect]) -> None:
        """Queue the sweeps of those who are silent by now: once, for there may be reasons to do nothing about it."""
        now, before = self._clock(), self._told_at
        leases = self.leases()
        self._told_at = {}
        for suspect in found:
            lease = leases.get(suspect.node)
            if lease is None or not self._is_silent(suspect, lease):
                continue
            attempt = (suspect.sweep.uid, suspect.record.attempt)
            told_at = before.get(attempt)
            if told_at is None or now - told_at >= ASK_AGAIN_SECONDS:
                self._queue.add(suspect.key)
                told_at = now
            self._told_at[attempt] = told_at

    def _is_silent(self, suspect: _Suspect, lease: LeaseView) -> bool:
        since = self.attentive_since()
        if since is None:
            return False
        silence = silence_of(
            suspect.record,
            lease,
            spec=suspect.sweep.spec,
            heard_at=suspect.heard_at,
            attentive_since=since,
            now=self._wall(),
        )
        return silence is not None

    def _suspects(self) -> list[_Suspect]:
        """Return from where a report is missing, and whose it is."""
        since, now = self.attentive_since(), self._wall()
        found = []
        for key in self._pods.all_keys():
            try:
                sweep = self._sweeps.sweep(key)
            except ValueError:
                # The look at the sweep says so, again and again.
                continue
            if sweep is None:
                continue
            heard_at = self._reports.heard_at(sweep.uid)
            silent = suspects(sweep, heard_at=heard_at, attentive_since=since, now=now)
            missing = {record.attempt: record for record in silent}
            for pod in self._pods.pods_of(key, sweep.uid) if missing else ():
                if pod.role is Role.ATTEMPT and pod.attempt in missing and pod.node and not pod.is_terminal:
                    record = missing[pod.attempt]
                    found.append(_Suspect(key=key, sweep=sweep, record=record, node=pod.node, heard_at=heard_at))
        return found

    def _due(self) -> list[str]:
        now = self._clock()
        if now < self._forbidden_until:
            return []
        due = [node for node, at in self._asked_at.items() if now - at >= READ_AGAIN_SECONDS]
        return sorted(due, key=lambda node: (self._asked_at[node], node))[:MOST_READS]

    async def _read(self, node: str) -> None:
        """Read one Lease; what cannot be read now is not known to be silent."""
        self._asked_at[node] = self._clock()
        try:
            async with asyncio.timeout(_READ_SECONDS):
                lease = await self._client.get(paths.node_lease(node))
        except TimeoutError:
            return
        except ApiError as error:
            if error.status == 404:
                self._readings.pop(node, None)
            elif error.status == 403:
                self._forbidden_until = self._clock() + FORBIDDEN_SECONDS
                logger.warning("may not read the Leases of nodes, so a silent one is waited for: %s", error.message)
            return
        self._take(node, lease)

    def _take(self, node: str, lease: dict[str, Any]) -> None:
        now, spec = self._clock(), lease.get("spec") or {}
        said = (str(lease["metadata"]["uid"]), str(spec.get("renewTime")))
        renewal = (spec.get("leaseDurationSeconds") or _LEASE_SECONDS) / _RENEWALS_IN_A_LEASE
        known = self._readings.get(node)
        if known is not None and known.said == said:
            self._readings[node] = replace(known, until=now, renewal_seconds=renewal)
        else:
            self._readings[node] = _Reading(said=said, renewal_seconds=renewal, since=now, until=now)
