"""Which of several operators decides: the one that holds a Lease, until a moment that it knows itself.

The rules are those of every leader election on Leases (k8s.io/client-go, tools/leaderelection); the times are shorter,
and every call has an end. A holder counts from before it asked, the others from after they saw: so it has stopped
before they begin, whatever the clocks of the machines say.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

LEASE_SECONDS = 12
"""For so long after its last sign of life nobody takes a holder's place."""
RENEW_DEADLINE_SECONDS = 8.0
"""For so long after its last renewal a holder decides and writes."""
RENEW_SECONDS = 2.0
CALL_SECONDS = 3.0
_TRY_SECONDS = 1.0
_RELEASE_SECONDS = 0.5
_TROUBLE_SECONDS = 30.0

ADDRESS = "resumable.dev/address"
"""Annotation of the Lease: where its holder takes reports."""


def boot_clock() -> float:
    """Return seconds that pass while the machine sleeps, too, where it has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeadershipLost(Exception):
    """Another operator may decide from now on: this process must end."""


@dataclass(frozen=True, kw_only=True)
class Candidacy:
    """Which Lease is stood for, as whom, and where reports are to be brought if it is won."""

    namespace: str
    lease: str
    name: str
    address: str


class Leadership(Protocol):
    """Who decides."""

    @property
    def is_held(self) -> bool:
        """Whether this process decides, at this very moment."""
        ...

    @property
    def leader_address(self) -> str:
        """Where another process takes reports that is known to decide; empty where none is."""
        ...

    @property
    def trouble(self) -> str:
        """What keeps this process from standing, as a sentence; empty where nothing does."""
        ...

    async def acquire(self) -> None:
        """Return once this process decides."""
        ...

    async def hold(self) -> None:
        """Go on deciding until cancelled.

        Raises
        ------
        LeadershipLost
        """
        ...

    async def release(self) -> None:
        """Let another process decide; returns soon, whatever happens."""
        ...


class Alone:
    """The only operator there is."""

    def __init__(self) -> None:
        self.is_held = False
        self.leader_address = ""
        self.trouble = ""

    async def acquire(self) -> None:
        """Decide from now on."""
        self.is_held = True

    async def hold(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Decide no longer."""
        self.is_held = False


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """A version of the Lease, and when this process first saw it."""

    version: tuple[str, str]
    at: float


class Elector:
    """Stands for one Lease.

    `client` is the elector's own, so that no request of the operator's is before its own in a queue. `clock` runs on
    while the machine sleeps, in seconds; `wall` gives Unix seconds, which are written down and never compared.
    """

    def __init__(
        self,
        client: KubeClient,
        candidacy: Candidacy,
        *,
        clock: Callable[[], float] = boot_clock,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._candidacy = candidacy
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._lease: dict[str, Any] = {}
        self._seen: _Sight | None = None
        self._held_until = 0.0
        self._released = False
        self._failing: tuple[float, str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process decides, at this very moment."""
        return not self._released and self._clock() < self._held_until

    @property
    def leader_address(self) -> str:
        """Where another process takes reports that is known to decide; empty where none is."""
        if self._holder() in ("", self._candidacy.name) or self._is_over(self._clock()):
            return ""
        return str((self._lease["metadata"].get("annotations") or {}).get(ADDRESS, ""))

    @property
    def trouble(self) -> str:
        """What keeps this process from standing, as a sentence; empty where nothing does."""
        if self._failing is None or self._clock() - self._failing[0] < _TROUBLE_SECONDS:
            return ""
        seconds = self._clock() - self._failing[0]
        return f"the Lease {self._path} has not been readable and writable for {seconds:.0f} s: {self._failing[1]}"

    @property
    def _path(self) -> str:
        return paths.lease(self._candidacy.namespace, self._candidacy.lease)

    async def acquire(self) -> None:
        """Return once the Lease is this process'."""
        while not await self._is_won():
            await self._sleep(_TRY_SECONDS * random.uniform(0.75, 1.0))
        logger.info("%s holds %s, and decides", self._candidacy.name, self._path)

    async def hold(self) -> None:
        """Renew the Lease until cancelled.

        Raises
        ------
        LeadershipLost
            At the renewal's deadline, or as soon as somebody else is seen to hold it.
        """
        pause = RENEW_SECONDS
        while True:
            await self._sleep(max(0.0, min(pause, self._held_until - self._clock())))
            if self._clock() >= self._held_until:
                why = f": {self._failing[1]}" if self._failing else ""
                raise LeadershipLost(f"{self._path} was not renewed for {RENEW_DEADLINE_SECONDS:.0f} s{why}")
            pause = RENEW_SECONDS if await self._is_renewed() else _TRY_SECONDS / 2

    async def release(self) -> None:
        """Let another process decide at once; where that cannot be said, it follows when the Lease has run out."""
        was_held, self._released = self.is_held, True
        if not was_held:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._give_back()
        except (ApiError, TimeoutError) as error:
            logger.warning("%s not released: %r", self._path, error)

    async def _give_back(self) -> None:
        try:
            await self._client.replace(self._path, self._claim(self._lease, holder=""))
        except ApiError as error:
            if error.status != 409:
                raise
            # A renewal was cut off that has been stored nevertheless.
            await self._look()
            if self._holder() == self._candidacy.name:
                await self._client.replace(self._path, self._claim(self._lease, holder=""))

    async def _is_won(self) -> bool:
        """Look at the Lease, take it where nobody has it, and return whether it is ours."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._look()
                if not self._is_free():
                    self._failing = None
                    return False
                await self._take()
        except (ApiError, TimeoutError) as error:
            if isinstance(error, ApiError) and error.status == 409:
                # Another one was faster.
                return False
            self._note_failure(error)
            return False
        return True

    async def _is_renewed(self) -> bool:
        try:
            async with asyncio.timeout(min(CALL_SECONDS, max(0.0, self._held_until - self._clock()))):
                try:
                    await self._take()
                except ApiError as error:
                    if error.status not in (404, 409):
                        raise
                    # An answer of before may have been lost: then what is stored is our own.
                    await self._look()
                    if self._holder() != self._candidacy.name:
                        raise LeadershipLost(f"{self._path} is held by {self._holder() or 'nobody'}") from error
                    await self._take()
        except (ApiError, TimeoutError) as error:
            self._note_failure(error)
            return False
        return True

    async def _look(self) -> None:
        try:
            lease = await self._client.get(self._path)
        except ApiError as error:
            if error.status != 404:
                raise
            lease = {}
        self._saw(lease)

    async def _take(self) -> None:
        """Write ourselves into the Lease as it was last seen."""
        asked_at = self._clock()
        claim = self._claim(self._lease, holder=self._candidacy.name)
        if self._lease:
            lease = await self._client.replace(self._path, claim)
        else:
            lease = await self._client.create(paths.leases(self._candidacy.namespace), claim)
        self._saw(lease)
        self._held_until = asked_at + RENEW_DEADLINE_SECONDS
        self._failing = None

    def _saw(self, lease: dict[str, Any]) -> None:
        metadata = lease.get("metadata", {})
        version = (str(metadata.get("uid")), str(metadata.get("resourceVersion")))
        self._lease = lease
        if self._seen is None or self._seen.version != version:
            self._seen = _Sight(version=version, at=self._clock())

    def _holder(self) -> str:
        return str((self._lease.get("spec") or {}).get("holderIdentity") or "")

    def _is_free(self) -> bool:
        return self._holder() in ("", self._candidacy.name) or self._is_over(self._clock())

    def _is_over(self, now: float) -> bool:
        """Whether the holder has given no sign of life for as long as it said that it would."""
        seconds = (self._lease.get("spec") or {}).get("leaseDurationSeconds") or LEASE_SECONDS
        return self._seen is not None and now - self._seen.at >= float(seconds)

    def _claim(self, lease: Mapping[str, Any], *, holder: str) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._wall(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease.get("spec") or {}
        changes = before.get("holderIdentity") != holder
        metadata = {name: value for name, value in (lease.get("metadata") or {}).items() if name != "managedFields"}
        annotations = {**(metadata.get("annotations") or {}), ADDRESS: self._candidacy.address if holder else ""}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**metadata, "name": self._candidacy.lease, "annotations": annotations},
            "spec": {
                **before,
                "holderIdentity": holder,
                # Whoever finds it released need not wait for anything.
                "leaseDurationSeconds": LEASE_SECONDS if holder else 1,
                "acquireTime": now if changes else before.get("acquireTime", now),
                "renewTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + int(changes and bool(holder)),
            },
        }

    def _note_failure(self, error: Exception) -> None:
        told = str(error) or f"no answer within {CALL_SECONDS:.0f} s"
        if self._failing is None:
            logger.warning("%s: %s", self._path, told)
        self._failing = (self._failing[0] if self._failing else self._clock(), told)
