from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from resumable_sweep.contract.report import REPORT_PATH
from sweep_operator.runtime.election import Alone
from sweep_operator.runtime.forwarding import FORWARDED, Forwarder


class Pair:
    """One that decides, and one that stands in for it."""

    def __init__(self) -> None:
        self.leadership = Alone()
        self.forwarder = Forwarder(self.leadership)
        self.heard: list[tuple[str, str, bytes]] = []
        self.answer = web.Response(text='{"superseded": false}', content_type="application/json")
        self.url = ""

    async def lead(self, request: web.Request) -> web.Response:
        headers = request.headers
        self.heard.append((headers["Authorization"], headers[FORWARDED], await request.read()))
        return self.answer

    async def report(self, **headers: str) -> tuple[int, str, str]:
        """Report to the one that stands in, and return status, body and when to come back."""
        sent = {"Authorization": "Bearer t", **headers}
        async with aiohttp.ClientSession() as session:
            async with session.post(self.url + REPORT_PATH, data=b"{}", headers=sent) as answer:
                return answer.status, await answer.text(), answer.headers.get("Retry-After", "")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    both = Pair()
    runners = []
    for handler in (both.lead, both.forwarder.forward):
        app = web.Application()
        app.router.add_post(REPORT_PATH, handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
    leader, stands_in = (f"http://127.0.0.1:{runner.addresses[0][1]}" for runner in runners)
    both.leadership.leader_address, both.url = leader, stands_in
    yield both
    await both.forwarder.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_report_reaches_the_leader_with_its_token(pair: Pair) -> None:
    assert await pair.report() == (200, '{"superseded": false}', "")
    assert pair.heard == [("Bearer t", "1", b"{}")]


async def test_the_leaders_refusal_is_the_answer(pair: Pair) -> None:
    pair.answer = web.Response(status=503, headers={"Retry-After": "60"}, text="busy")
    assert await pair.report() == (503, "busy", "60")


async def test_what_was_forwarded_once_is_not_forwarded_again(pair: Pair) -> None:
    status, _, again = await pair.report(**{FORWARDED: "1"})
    assert (status, pair.heard) == (503, [])
    assert 1 <= int(again) <= 3


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:1"], ids=["nobody decides", "the leader is gone"])
async def test_where_nobody_takes_it_the_sidecar_is_to_come_back(pair: Pair, address: str) -> None:
    pair.leadership.leader_address = address
    status, _, again = await pair.report()
    assert status == 503
    assert 1 <= int(again) <= 3


async def test_a_pod_that_ends_while_it_reports_is_no_error() -> None:
    async def broken_off() -> bytes:
        raise ConnectionResetError("Connection lost")

    leadership = Alone()
    leadership.leader_address = "http://127.0.0.1:1"
    request: Any = SimpleNamespace(headers={}, read=broken_off)
    assert (await Forwarder(leadership).forward(request)).status == 400
