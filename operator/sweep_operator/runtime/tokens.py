"""Who sent a report: the API server says which very pod a projected token belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient

CACHE_SECONDS = 300.0
_CACHE_ENTRIES = 20_000
_REVIEWS_IN_FLIGHT = 16
# pkg/serviceaccount: extra fields that a token bound to a pod carries.
_POD_UID = "authentication.kubernetes.io/pod-uid"


@dataclass(frozen=True)
class PodIdentity:
    """The pod that a token was made for."""

    namespace: str
    uid: str


class TokenReviewer:
    """Asks the API server about tokens, and remembers the answers for a while by the tokens' hashes.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, client: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, PodIdentity | None]] = OrderedDict()
        self._in_flight = asyncio.Semaphore(_REVIEWS_IN_FLIGHT)

    @property
    def is_busy(self) -> bool:
        """Whether as many reviews are under way as may be: callers should come back later."""
        return self._in_flight.locked()

    def knows(self, token: str) -> bool:
        """Return whether `identity_of` has the answer without asking."""
        known = self._known.get(_digest(token))
        return known is not None and self._clock() < known[0]

    async def identity_of(self, token: str) -> PodIdentity | None:
        """Return the pod of a token, None where the token is not valid for us or not bound to a pod.

        Raises
        ------
        ApiError
            Where the API server could not be asked.
        """
        digest = _digest(token)
        known = self._known.get(digest)
        if known is not None and self._clock() < known[0]:
            return known[1]
        async with self._in_flight:
            identity = await self._review(token)
        self._known[digest] = (self._clock() + CACHE_SECONDS, identity)
        self._known.move_to_end(digest)
        while len(self._known) > _CACHE_ENTRIES:
            self._known.popitem(last=False)
        return identity

    async def _review(self, token: str) -> PodIdentity | None:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [TOKEN_AUDIENCE]},
        }
        try:
            status = (await self._client.create(paths.TOKEN_REVIEWS, review)).get("status") or {}
        except ApiError as error:
            if error.status in (400, 413, 422):
                return None
            raise
        # An authenticator that does not know audiences answers without them: such a token may be anybody's.
        if not status.get("authenticated") or TOKEN_AUDIENCE not in (status.get("audiences") or ()):
            return None
        user = status.get("user") or {}
        uids = (user.get("extra") or {}).get(_POD_UID) or []
        parts = str(user.get("username", "")).split(":")
        if len(uids) != 1 or parts[:2] != ["system", "serviceaccount"] or len(parts) != 4:
            return None
        return PodIdentity(namespace=parts[2], uid=uids[0])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
