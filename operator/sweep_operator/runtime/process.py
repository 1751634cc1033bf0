"""The operator's process: everything wired together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Collection, Coroutine
from typing import Any

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import node_view, pod_view
from sweep_operator.model.observed import NodeView, PodView
from sweep_operator.pods import names
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.execute import Executor
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.gather import Gatherer
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.lease_watch import LeaseWatch
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.reconciler import Reconciler
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.server import Server
from sweep_operator.runtime.settings import REPORT_URL, Settings
from sweep_operator.runtime.shell import watch_sweeps
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.work_queue import WorkQueue

logger = logging.getLogger(__name__)

WORKERS = 8
RESYNC_SECONDS = 300.0


async def run(settings: Settings) -> None:
    """Run the operator until the process is asked to end, or something that it cannot go on without has failed."""
    if not settings.pods.report_url:
        logger.warning("%s is empty: pods are told nobody to report to", REPORT_URL)
    client = await KubeClient.connect()
    try:
        await _run(settings, client)
    finally:
        await client.close()


async def _run(settings: Settings, client: KubeClient) -> None:
    queue = WorkQueue()
    attempts, reports, metrics = Attempts(), ReportBoard(), Metrics()
    gate = Gate(client, allowance=settings.allowance, clock=time.time)
    sweeps = SweepStore(queue, forget=(attempts.forget, reports.forget, gate.forget))
    pods = PodIndex(queue)
    nodes: Informer[NodeView] = Informer(client, paths.NODES, project=node_view, changed=pods.node_changed)
    collections = [paths.pods(namespace) for namespace in settings.namespaces] or [paths.PODS]
    pod_informers: list[Informer[PodView]] = [
        Informer(client, path, project=pod_view, changed=pods.pod_changed, selector=names.SWEEP) for path in collections
    ]
    events = EventPoster(client, clock=time.time, unique=lambda: uuid.uuid4().hex[:16])
    executor = Executor(
        client=client,
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
    gatherer = Gatherer(
        client=client,
        sweeps=sweeps,
        pods=pods,
        nodes=nodes,
        attempts=attempts,
        reports=reports,
        tokens=tokens,
        settings=settings.pods,
        leases=leases,
        clock=time.time,
        listening_since=time.time() if settings.pods.report_url else None,
    )
    reconciler = Reconciler(gatherer=gatherer, executor=executor, queue=queue, metrics=metrics, clock=time.time)
    informers: list[Informer[Any]] = [nodes, *pod_informers]
    server = Server(
        sweeps=sweeps,
        pods=pods,
        nodes=nodes,
        reports=reports,
        attention=attention,
        tokens=tokens,
        queue=queue,
        health=Health(queue=queue, informers=informers),
        metrics=metrics,
    )
    runner = await server.start(settings.port)
    background: list[Coroutine[Any, Any, None]] = [
        *(informer.run() for informer in informers),
        events.run(),
        attention.run(),
        leases.run(),
        tokens.run(),
        _work(queue, reconciler, informers),
        _resync(client, sweeps, queue, namespaces=settings.namespaces),
    ]
    try:
        await _until_first_ends(watch_sweeps(sweeps, namespaces=settings.namespaces), background)
    finally:
        await runner.cleanup()


async def _work(queue: WorkQueue, reconciler: Reconciler, informers: list[Informer[Any]]) -> None:
    # Nothing is decided before all pods are known: a pod that is not yet listed would look like one that is gone.
    for informer in informers:
        await informer.wait_synced()
    logger.info("pods and nodes are listed, looking at the sweeps")
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(queue.work(reconciler.reconcile))


async def _resync(client: KubeClient, sweeps: SweepStore, queue: WorkQueue, *, namespaces: Collection[str]) -> None:
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        before = sweeps.all_keys()
        try:
            there = [await client.get(path) for path in paths.sweeps(namespaces)]
            sweeps.compare(before, {sweep["metadata"]["uid"] for page in there for sweep in page["items"]})
        except ApiError as error:
            logger.warning("the sweeps could not be listed: %s", error)
        for key in sweeps.all_keys():
            queue.add(key)


async def _until_first_ends(main: Coroutine[Any, Any, None], background: list[Coroutine[Any, Any, None]]) -> None:
    """Run everything until the first of it ends, cancel the rest, and raise what it raised.

    A process of which one part has died must not go on as if it were whole: Kubernetes starts a new one.
    """
    tasks = [asyncio.ensure_future(work) for work in (main, *background)]
    try:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in finished:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
