"""Reports of thousands of sidecars to one operator, with tokens that the API server has made for their pods."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from bench.operator_client import Client, all_of
from bench.operator_cluster import NAMESPACE
from bench.operator_observer import Observer, Seen
from bench.operator_process import Operator
from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.report import HEARTBEAT_SECONDS, REPORT_PATH, Report, Stage

_TOKENS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default/token"


@dataclass
class Heard:
    """What the operator answered, and how long it took."""

    codes: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    asked: float = 0.0
    """Reports a second that were to be sent."""
    span_s: float = 0.0


async def tokens_of(client: Client, observer: Observer) -> list[tuple[Seen, str]]:
    """Return each live pod with a token as its kubelet would project it."""
    found: list[tuple[Seen, str]] = []

    async def ask(pod: Seen) -> None:
        uid = (await client.get(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"))["metadata"]["uid"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod.name, "uid": uid}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound},
        }
        found.append((pod, (await client.send("POST", _TOKENS, request))["status"]["token"]))

    await all_of(partial(ask, pod) for pod in observer.latest.values() if pod.name in observer.live)
    return found


async def pushed(operator: Operator, senders: list[tuple[Seen, str]], *, seconds: float, first_round: int) -> Heard:
    """Have each sender report as often as a sidecar does, evenly spread, for so long; rounds are numbered on."""
    heard = Heard(asked=len(senders) / HEARTBEAT_SECONDS)
    connector = aiohttp.TCPConnector(limit=200)
    timeout = aiohttp.ClientTimeout(total=30)
    began = time.monotonic()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
        for number in range(int(heard.asked * seconds)):
            wait = began + number / heard.asked - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            pod, token = senders[number % len(senders)]
            report = _report(pod, sequence=first_round + number // len(senders))
            group.create_task(_push(session, operator.url, token, report, heard))
    heard.span_s = time.monotonic() - began
    return heard


def _report(pod: Seen, *, sequence: int) -> bytes:
    report = Report(
        run_id="r",
        shard=pod.of[1],
        attempt=pod.attempt,
        sequence=sequence,
        stage=Stage.MIRRORING,
        items_done=sequence,
        items_recorded=sequence,
    )
    return json.dumps(json.loads(report.to_json())).encode()


async def _push(session: aiohttp.ClientSession, url: str, token: str, report: bytes, heard: Heard) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    began = time.monotonic()
    try:
        async with session.post(url + REPORT_PATH, data=report, headers=headers) as answer:
            await answer.read()
            heard.codes[answer.status] += 1
    except (aiohttp.ClientError, TimeoutError):
        heard.codes[0] += 1
    heard.seconds.append(time.monotonic() - began)
