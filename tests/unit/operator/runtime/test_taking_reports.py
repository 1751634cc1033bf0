"""Who answers a report: the operator that decides, unless it is about to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock

import aiohttp
import pytest

from resumable_sweep.contract.report import REPORT_PATH
from sweep_operator.runtime.election import Alone
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.server import Server


@dataclass
class Serving:
    server: Server
    leadership: Alone
    health: Any
    url: str

    async def ask(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, data=b"{}") as answer:
            return answer.status, await answer.text()

    async def report(self) -> int:
        return (await self.ask(REPORT_PATH, method="POST"))[0]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    leadership, health = Alone(), MagicMock()
    rest = {
        name: MagicMock()
        for name in ("sweeps", "pods", "nodes", "reports", "attention", "tokens", "queue", "exposition")
    }
    server = Server(leadership=leadership, health=health, metrics=Metrics(), **rest)
    runner = await server.start(0)
    # Port 0 is another port for each family of addresses, and they come in any order.
    port = next(address[1] for address in runner.addresses if ":" not in address[0])
    yield Serving(server, leadership, health, f"http://127.0.0.1:{port}")
    await runner.cleanup()


async def test_the_one_that_decides_answers_itself(serving: Serving) -> None:
    assert await serving.report() == 503
    serving.leadership.is_held = True
    assert await serving.report() == 401, "it looks at the token that is not there"


async def test_one_that_is_about_to_end_takes_no_more(serving: Serving) -> None:
    serving.leadership.is_held = True
    serving.server.end()
    assert await serving.report() == 503


async def test_probes_answer_in_sentences(serving: Serving) -> None:
    serving.health.complaints.return_value = []
    serving.health.defects.return_value = []
    assert await serving.ask("/readyz") == (200, "ready\n")
    assert await serving.ask("/healthz") == (200, "alive\n")
    serving.health.complaints.return_value = ["one thing", "another thing"]
    assert await serving.ask("/readyz") == (503, "one thing\nanother thing\n")
    assert await serving.ask("/healthz") == (200, "alive\n")
    serving.health.defects.return_value = ["it is deaf"]
    assert await serving.ask("/healthz") == (503, "it is deaf\n")
