"""Who sent a report: the API server says which very pod a projected token belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

CACHE_SECONDS = 300.0
FORBIDDEN_PAUSE_SECONDS = 60.0
"""How often it is tried whether tokens may be reviewed by now."""
_UNANSWERED_PAUSE_SECONDS = 5.0
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

    `clock` is monotonic, in seconds. `spread` gives the share of the longest time for which an answer is remembered:
    the tokens of thousands of pods that came at once must not all be reviewed again at once.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = lambda: random.uniform(0.5, 1.0),
    ) -> None:
        self._client = client
        self._spread = spread
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, PodIdentity | None]] = OrderedDict()
        self._in_flight = asyncio.Semaphore(_REVIEWS_IN_FLIGHT)
        self._sleep = sleep
        self.forbidden = False
        """Whether the API server denies us the review of tokens."""

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
        self._known[digest] = (self._clock() + CACHE_SECONDS * self._spread(), identity)
        self._known.move_to_end(digest)
        self._drop_old()
        return identity

    def _drop_old(self) -> None:
        # The oldest come first: all live equally long.
        while self._known:
            until, _ = next(iter(self._known.values()))
            if len(self._known) <= _CACHE_ENTRIES and self._clock() < until:
                return
            self._known.popitem(last=False)

    async def run(self) -> None:
        """Find out whether tokens may be reviewed, once a minute, until cancelled.

        Nobody's token is enough for that: the API server looks at the right before it looks at the token.
        """
        while True:
            try:
                await self._review("nobody")
            except ApiError as error:
                if error.status != 403:
                    logger.warning("the right to review tokens could not be tried: %s", error)
                    await self._sleep(_UNANSWERED_PAUSE_SECONDS)
                    continue
            await self._sleep(FORBIDDEN_PAUSE_SECONDS)

    def _note_forbidden(self, error: ApiError) -> None:
        if not self.forbidden:
            logger.warning("not allowed to review tokens, so no reports are taken: %s", error.message)
        self.forbidden = True

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
            if error.status == 403:
                self._note_forbidden(error)
            raise
        self.forbidden = False
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
