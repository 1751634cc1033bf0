"""The operator's HTTP endpoint: reports of sidecars, probes, metrics."""

from __future__ import annotations

import logging
import random

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from resumable_sweep.contract.report import REPORT_PATH, Answer, Experiment, Report, parsed_report
from sweep_operator.decide.notices import is_noted
from sweep_operator.decide.silence import listened_to
from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.model.observed import NodeView, PodView, Role
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.election import Leadership
from sweep_operator.runtime.forwarding import Forwarder, come_back
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.exposition import Exposition
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import FORBIDDEN_PAUSE_SECONDS, TokenReviewer
from sweep_operator.runtime.work_queue import WorkQueue

logger = logging.getLogger(__name__)

_LARGEST_REPORT_BYTES = 64 * 1024
_LAST_ANSWERS_SECONDS = 0.3
"""For so long an answer that is under way is waited for at the end."""


class Server:
    """Answers on one port."""

    def __init__(
        self,
        *,
        sweeps: SweepStore,
        pods: PodIndex,
        nodes: Informer[NodeView],
        reports: ReportBoard,
        attention: Attention,
        tokens: TokenReviewer,
        queue: WorkQueue,
        health: Health,
        leadership: Leadership,
        metrics: Metrics,
        exposition: Exposition,
    ) -> None:
        self._sweeps = sweeps
        self._pods = pods
        self._nodes = nodes
        self._reports = reports
        self._attention = attention
        self._tokens = tokens
        self._queue = queue
        self._health = health
        self._leadership = leadership
        self._forwarder = Forwarder(leadership)
        self._ending = False
        self._metrics = metrics
        self._exposition = exposition

    async def start(self, port: int) -> web.AppRunner:
        """Listen on `port`; the caller cleans the returned runner up."""
        app = web.Application(client_max_size=_LARGEST_REPORT_BYTES)
        app.router.add_post(REPORT_PATH, self._report)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        app.on_cleanup.append(lambda _: self._forwarder.close())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        return runner

    def end(self) -> None:
        """Take no more reports: who sends one is asked to come back, when another process decides."""
        self._ending = True

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _probe_answer(self._health.defects(), fine="alive")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _probe_answer(self._health.complaints(), fine="ready")

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _report(self, request: web.Request) -> web.Response:
        if self._ending:
            response = come_back()
        elif self._leadership.is_held:
            response = await self._answer(request)
        else:
            response = await self._forwarder.forward(request)
        self._metrics.reports.labels(code=str(response.status)).inc()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return web.Response(status=401, text="a projected ServiceAccount token is needed\n")
        if self._tokens.is_busy and not self._tokens.knows(token.strip()):
            # Jittered, so that the sidecars of a large sweep do not come back all at once.
            return web.Response(status=503, headers={"Retry-After": str(random.randint(1, 5))})
        try:
            identity = await self._tokens.identity_of(token.strip())
        except ApiError as error:
            # Somebody has spoken, and nobody can tell who.
            self._attention.lost()
            if self._tokens.forbidden:
                return web.Response(status=503, headers={"Retry-After": f"{FORBIDDEN_PAUSE_SECONDS:.0f}"})
            logger.warning("a token could not be reviewed: %s", error)
            return web.Response(status=503, headers={"Retry-After": "5"})
        if identity is None:
            return web.Response(status=403, text="this token is not for the operator, or not of a pod\n")
        pod = self._pods.by_uid(identity.uid)
        if pod is None or pod.namespace != identity.namespace or pod.role is not Role.ATTEMPT:
            # The cache may lag behind a pod that has just started: the sidecar asks again.
            return web.Response(status=404, text="no attempt of a sweep runs in this pod, as far as known\n")
        try:
            report = parsed_report(await request.json())
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        except ConnectionResetError:
            # The pod has ended while its token was reviewed: nobody hears an answer.
            return web.Response(status=400, text="the report broke off\n")
        if (report.shard, report.attempt) != (pod.shard, pod.attempt):
            return web.Response(
                status=403, text=f"this pod is attempt {pod.attempt} of shard {pod.shard}, and speaks for no other\n"
            )
        return web.json_response(text=self._take(pod, report).to_json())

    def _take(self, pod: PodView, report: Report) -> Answer:
        key = (pod.namespace, pod.sweep)
        sweep = self._sweeps.sweep(key)
        if sweep is None or sweep.uid != pod.sweep_uid or pod.shard >= len(sweep.status.records):
            return Answer()
        record = sweep.status.records[pod.shard]
        # What an earlier attempt still has to say changes nothing any more.
        if pod.attempt in listened_to(record):
            self._metrics.first_items.reported(pod.sweep_uid, report)
            is_telling = self._reports.post(pod.sweep_uid, report)
            if is_telling or pod.attempt == record.silenced:
                self._queue.add(key)
        return answer_to(report, record, pod=pod, node=self._nodes.get("", pod.node))


def _probe_answer(wrong: list[str], *, fine: str) -> web.Response:
    return web.Response(text="\n".join(wrong or [fine]) + "\n", status=503 if wrong else 200)


def answer_to(report: Report, record: ShardRecord, *, pod: PodView, node: NodeView | None) -> Answer:
    """Return what a pod's sidecar hears; `record` is its shard's as the written status has it.

    An attempt is superseded by one that has taken its place, never by one that only waits to.
    """
    is_current = record.attempt == pod.attempt
    noticed = report.notice.is_hard or (is_current and record.notice.is_hard)
    return Answer(
        superseded=record.attempt > pod.attempt,
        notice_noted=is_current and is_noted(record, report.notice),
        may_take=is_current,
        experiment=experiment_of(pod, node, noticed=noticed),
    )


def experiment_of(pod: PodView, node: NodeView | None, *, noticed: bool = False) -> Experiment:
    """Return how the experiment's own containers stand.

    They have not succeeded, whatever their exit codes, where they were told to end: a program that traps SIGTERM, or
    (where `noticed`) stops for a cloud's notice, and exits 0 has not finished.
    """
    codes = [main.exit_code for main in pod.mains]
    told = noticed or pod.deleted or pod.disruption or (node is not None and node.is_going)
    if told and codes and None not in codes:
        return Experiment.FAILED
    if not codes:
        return Experiment.UNKNOWN
    if any(code is None for code in codes):
        return Experiment.RUNNING
    return Experiment.FAILED if any(codes) else Experiment.SUCCEEDED
