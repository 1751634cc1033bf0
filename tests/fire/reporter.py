"""A sidecar's reports on their way to the operator, with the token that the kubelet projects into the pod."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from fire.kube import Json, Kube
from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.report import (
    HEARTBEAT_SECONDS,
    REPORT_PATH,
    Answer,
    NoticeKind,
    Report,
    parsed_answer,
)
from sweep_sidecar.push import ReportNumbers

AGAIN_SECONDS = 0.2
"""After a report that nobody took: sidecars wait longer, and say the same."""
_ANSWER_SECONDS = 5.0


class Reporter:
    """Sends the newest report of one pod, at once when something has changed and else as a heartbeat."""

    def __init__(self, kube: Kube, session: aiohttp.ClientSession, pod: Json) -> None:
        self._kube = kube
        self._session = session
        self._pod = pod
        self._url = ""
        self._heard: Callable[[Answer], None] = lambda answer: None
        self.numbers = ReportNumbers()
        self._sending = asyncio.Lock()
        self._newest: Report | None = None
        self._announced: tuple[NoticeKind, float] | None = None
        self._changed = asyncio.Event()
        self._token = ""
        self.online = asyncio.Event()
        """Whether the machine has a network."""
        self.online.set()

    def report_to(self, url: str, *, heard: Callable[[Answer], None]) -> None:
        """Send to the operator at `url` (empty: there is none), and pass on what it answers."""
        self._url = f"{url}{REPORT_PATH}" if url else ""
        self._heard = heard

    def announce(self, kind: NoticeKind, deadline: float) -> None:
        """Add to each report from now on what the cloud announces, until the operator has noted it."""
        self._announced = kind, deadline
        self._changed.set()

    def note(self, report: Report) -> None:
        """Have a report sent soon."""
        if report != self._newest:
            self._newest = report
            self._changed.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while self._url:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            async with self._sending:
                answer = None if self._newest is None else await self.push(self._newest)
                unnoted = self._announced is not None and answer is not None and not answer.notice_noted
                failed = self._newest is not None and (answer is None or unnoted)
            if failed:
                await asyncio.sleep(AGAIN_SECONDS)
                self._changed.set()

    async def hush(self) -> None:
        """Send nothing more of what was noted so far; return when nothing is on its way."""
        self._newest = None
        async with self._sending:
            self._changed.clear()

    async def push(self, report: Report) -> Answer | None:
        """Send a report and return the answer, None where there is none."""
        if not self._url:
            return None
        await self.online.wait()
        headers = {"Authorization": f"Bearer {await self._projected_token()}", "Content-Type": "application/json"}
        if self._announced is not None:
            report = replace(report, notice=self._announced[0], notice_deadline=self._announced[1])
        body = replace(report, sequence=self.numbers.next()).to_json()
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=timeout) as said:
                if said.status != 200:
                    return None
                answer = parsed_answer(await said.json())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        self._heard(answer)
        return answer

    async def _projected_token(self) -> str:
        if not self._token:
            metadata = self._pod["metadata"]
            bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            account = self._pod["spec"].get("serviceAccountName") or "default"
            path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
            spec = {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound}
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            self._token = str((await self._kube.create(path, request))["status"]["token"])
        return self._token
