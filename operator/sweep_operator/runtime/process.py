"""The operator's process: everything wired together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from sweep_operator.kube import paths
from sweep_operator.kube.client import KubeClient
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import node_view, pod_view
from sweep_operator.model.observed import NodeView, PodView
from sweep_operator.pods import names
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.election import Alone, Elector, Leadership
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.execute import Executor
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.gather import Gatherer
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.leading import Leading
from sweep_operator.runtime.lease_watch import LeaseWatch
from sweep_operator.runtime.loop_lag import LoopLag
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.exposition import Exposition
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.reconciler import Reconciler
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.server import Server
from sweep_operator.runtime.settings import REPORT_URL, Settings
from sweep_operator.runtime.shell import watch_sweeps
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.together import cancel, raise_first
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.work_queue import WorkQueue
from sweep_operator.runtime.workers import Workers

logger = logging.getLogger(__name__)

WORKERS = 8
FINISH_SECONDS = 0.8
"""For so long looks that have begun are waited for at the end."""


async def run(settings: Settings) -> None:
    """Run the operator until the process is asked to end, or something that it cannot go on without has failed.

    Raises
    ------
    LeadershipLost
        Where another operator may decide from now on.
    """
    if not settings.pods.report_url:
        logger.warning("%s is empty: pods are told nobody to report to", REPORT_URL)
    ending = asyncio.Event()
    _end_on_signals(ending)
    async with AsyncExitStack() as connections:
        metrics = Metrics()
        client = await KubeClient.connect(observed=metrics.observe_request)
        connections.push_async_callback(client.close)
        leadership: Leadership = Alone()
        if settings.candidacy is not None:
            own = await KubeClient.connect(observed=metrics.observe_request)
            connections.push_async_callback(own.close)
            leadership = Elector(own, settings.candidacy)
        await _run(settings, client, leadership, ending, metrics)


async def _run(
    settings: Settings, client: KubeClient, leadership: Leadership, ending: asyncio.Event, metrics: Metrics
) -> None:
    writer = client.fenced(lambda: leadership.is_held)
    queue = WorkQueue(waited=metrics.queue_wait_seconds.observe, is_open=False)
    attempts, reports = Attempts(), ReportBoard()
    gate = Gate(writer, allowance=settings.allowance, clock=time.time)
    sweeps = SweepStore(queue, forget=(attempts.forget, reports.forget, gate.forget, metrics.first_items.forget))
    resync = Resync(client, sweeps, queue, namespaces=settings.namespaces)
    pods = PodIndex(queue)
    nodes: Informer[NodeView] = Informer(
        client,
        paths.NODES,
        project=node_view,
        changed=pods.node_changed,
        recovered=resync.queue_all,
        failed=partial(metrics.observe_watch_failure, paths.NODES),
    )
    collections = [paths.pods(namespace) for namespace in settings.namespaces] or [paths.PODS]
    pod_informers: list[Informer[PodView]] = [
        Informer(
            client,
            path,
            project=pod_view,
            changed=pods.pod_changed,
            selector=names.SWEEP,
            recovered=resync.queue_all,
            failed=partial(metrics.observe_watch_failure, path),
        )
        for path in collections
    ]
    events = EventPoster(writer, clock=time.time, unique=lambda: uuid.uuid4().hex[:16])
    executor = Executor(
        client=writer,
        gate=gate,
        sweeps=sweeps,
        attempts=attempts,
        events=events,
        metrics=metrics,
        settings=settings.pods,
        clock=time.time,
        token=lambda: secrets.token_urlsafe(24),
    )
    tokens = TokenReviewer(client)
    attention = Attention()
    leases = LeaseWatch(
        client=client,
        sweeps=sweeps,
        pods=pods,
        reports=reports,
        queue=queue,
        attention=attention if settings.pods.report_url else None,
    )
    of_namespace = dict(zip(settings.namespaces, pod_informers, strict=False))
    gatherer = Gatherer(
        client=client,
        sweeps=sweeps,
        pods=pods,
        nodes=nodes,
        attempts=attempts,
        reports=reports,
        tokens=tokens,
        settings=settings.pods,
        gate=gate,
        leases=leases,
        clock=time.time,
        cached_to=lambda namespace: of_namespace.get(namespace, pod_informers[0]).version,
    )
    reconciler = Reconciler(gatherer=gatherer, executor=executor, queue=queue, metrics=metrics, clock=time.time)
    workers = Workers(queue, reconciler.reconcile, count=WORKERS)
    informers: list[Informer[Any]] = [nodes, *pod_informers]
    lag = LoopLag()
    health = Health(queue=queue, informers=informers, resync=resync, lag=lag, leadership=leadership)
    exposition = Exposition(
        metrics,
        sweeps=sweeps,
        pods=pods,
        reports=reports,
        tokens=tokens,
        queue=queue,
        reconciler=reconciler,
        informers=informers,
        resync=resync,
        lag=lag,
        leadership=leadership,
        health=health,
        is_reported_to=bool(settings.pods.report_url),
    )
    server = Server(
        sweeps=sweeps,
        pods=pods,
        nodes=nodes,
        reports=reports,
        attention=attention,
        tokens=tokens,
        queue=queue,
        health=health,
        leadership=leadership,
        metrics=metrics,
        exposition=exposition,
    )

    def began(now: float) -> None:
        # What was said before was said to somebody else.
        attention.lost()
        if settings.pods.report_url:
            gatherer.listen_from(now)

    leading = Leading(
        leadership=leadership,
        informers=informers,
        resync=resync,
        won=queue.open,
        began=began,
        work=(workers.run, events.run, leases.run, tokens.run),
    )
    runner = await server.start(settings.port)
    try:
        await _until_ending(
            ending,
            leading=leading.run(),
            beside=[
                *(informer.run() for informer in informers),
                resync.run(),
                lag.run(),
                attention.run(),
                watch_sweeps(
                    client,
                    sweeps,
                    namespaces=settings.namespaces,
                    restore_signals=lambda: _end_on_signals(ending),
                ),
            ],
            leadership=leadership,
            server=server,
            workers=workers,
        )
    finally:
        await runner.cleanup()


async def _until_ending(
    ending: asyncio.Event,
    *,
    leading: Coroutine[Any, Any, None],
    beside: list[Coroutine[Any, Any, None]],
    leadership: Leadership,
    server: Server,
    workers: Workers,
) -> None:
    """Run until asked to end, and end in order: no new looks, the last writes, and only then the next one's turn."""
    asked, leader = asyncio.ensure_future(ending.wait()), asyncio.ensure_future(leading)
    tasks: list[asyncio.Future[Any]] = [asked, leader, *(asyncio.ensure_future(each) for each in beside)]
    try:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asked in finished:
            server.end()
            if not await workers.finish(seconds=FINISH_SECONDS):
                logger.warning("ending in the middle of a look: whoever is next goes on from what is written down")
    finally:
        await cancel([leader])
        await leadership.release()
        await cancel(tasks)
    raise_first(finished)


def _end_on_signals(ending: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
