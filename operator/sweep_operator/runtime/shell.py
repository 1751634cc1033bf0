"""kopf as the shell: it watches the sweeps; all it does with an event is to pass it on.

It is no more than a part of this process: how it logs in, what ends it, and when it is started anew is said here.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import Any, cast

import kopf

from sweep_operator import api
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.runtime.sweep_store import SweepStore

logger = logging.getLogger(__name__)

_LONGEST_BACKOFF_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
_UNSERVED_PAUSE_SECONDS = 2.0


class _Backoffs(Iterable[float]):
    """Growing, jittered pauses without end: an API server may be away for as long as it likes."""

    def __iter__(self) -> Iterator[float]:
        pause = 0.5
        while True:
            yield pause * random.uniform(0.75, 1.25)
            pause = min(_LONGEST_BACKOFF_SECONDS, pause * 2)


class _AllOthers(Collection[Any]):
    """What kopf shall leave alone when it ends: it would cancel every task that was started after itself."""

    def __contains__(self, task: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def watch_sweeps(
    client: KubeClient, sweeps: SweepStore, *, namespaces: Collection[str], restore_signals: Callable[[], None]
) -> None:
    """Keep `sweeps` up to date until cancelled; kopf is started anew whenever it ends.

    `restore_signals` is called when kopf has taken the process' signals for its own.
    """
    pause = 1.0
    while True:
        await _until_served(client)
        started = asyncio.get_running_loop().time()
        try:
            await _watch(client, sweeps, namespaces=namespaces, restore_signals=restore_signals)
        except Exception as error:
            # Its watches do not outlive a definition that goes, nor every error that a server may answer with.
            logger.warning("the watch of sweeps has ended, and is started anew: %r", error)
        if asyncio.get_running_loop().time() - started > 10 * _LONGEST_PAUSE_SECONDS:
            pause = 1.0
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)


async def _until_served(client: KubeClient) -> None:
    """Wait until the API server knows the definition: kopf looks once, and never again."""
    told = ""
    while True:
        try:
            groups = (await client.get("/apis"))["groups"]
            if any(group["name"] == api.GROUP for group in groups):
                kinds = (await client.get(f"/apis/{api.API_VERSION}"))["resources"]
                if any(kind["name"] == api.PLURAL for kind in kinds):
                    return
            why = f"{api.PLURAL}.{api.GROUP} is not defined: apply the CustomResourceDefinition"
        except ApiError as error:
            why = str(error)
        if why != told:
            logger.warning("the API server does not serve sweeps yet: %s", why)
            told = why
        await asyncio.sleep(_UNSERVED_PAUSE_SECONDS)


async def _watch(
    client: KubeClient, sweeps: SweepStore, *, namespaces: Collection[str], restore_signals: Callable[[], None]
) -> None:
    registry = kopf.OperatorRegistry()
    pauses = chain([0.0], _Backoffs())

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> Any:
        # Asked again whenever the server says 401. kopf gives up on credentials that it has had before; a session is
        # another one each time, and takes its token from where all else in this process does.
        await asyncio.sleep(next(pauses))
        return kopf.AiohttpSession(aiohttp_session=client.session(), server=client.server)

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def pass_on(event: Any, **_: Any) -> None:
        manifest = dict(event["object"])
        if event["type"] == "DELETED":
            sweeps.gone(manifest)
        else:
            sweeps.seen(manifest)

    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = _Backoffs()
    settings.queueing.exit_timeout = 0.1
    # It would kill the process some time after this watch has ended, although another one may have begun.
    settings.process.ultimate_exiting_timeout = None
    logging.getLogger("kopf").setLevel(logging.WARNING)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings,
        # kopf would ask for the user's name, and a container's user has none.
        identity=cast(Any, uuid.uuid4().hex),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
    restore_signals()
    await kopf.run_tasks(tasks, ignored=_AllOthers())
