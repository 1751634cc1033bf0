"""Reports that reach an operator which only stands in are brought to the one that decides."""

from __future__ import annotations

import logging
import random

import aiohttp
from aiohttp import web

from resumable_sweep.contract.report import REPORT_PATH
from sweep_operator.runtime.election import Leadership

logger = logging.getLogger(__name__)

FORWARDED = "Resumable-Sweep-Forwarded"
"""Header of a report that has been forwarded once: nobody forwards it again."""
_KEPT = ("Content-Type", "Retry-After")
_SECONDS = 3.0
"""Sidecars wait for five."""


def come_back() -> web.Response:
    """Return the answer that nobody can take a report just now; jittered, so that not all come back at once."""
    return web.Response(status=503, headers={"Retry-After": str(random.randint(1, 3))}, text="nobody decides now\n")


class Forwarder:
    """Brings reports to the leader, with the token they came with."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, request: web.Request) -> web.Response:
        """Return the leader's answer to a report, or that nobody takes it now: its sidecar repeats it."""
        address = self._leadership.leader_address
        if not address or FORWARDED in request.headers:
            return come_back()
        headers = {FORWARDED: "1", "Content-Type": "application/json"}
        headers["Authorization"] = request.headers.get("Authorization", "")
        try:
            body = await request.read()
        except ConnectionResetError:
            # The pod has ended meanwhile: nobody hears an answer.
            return web.Response(status=400, text="the report broke off\n")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS, sock_connect=1.0))
        try:
            async with self._session.post(address + REPORT_PATH, data=body, headers=headers) as answer:
                kept = {
                    name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers
                }
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.info("a report could not be brought to %s: %r", address, error)
            return come_back()

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()
