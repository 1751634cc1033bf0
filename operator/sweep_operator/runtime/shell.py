"""kopf as the shell: it logs in and watches the sweeps; all it does with an event is to pass it on."""

from __future__ import annotations

import logging
import os
import random
import uuid
from collections.abc import Collection, Iterator
from typing import Any, cast

import kopf

from sweep_operator import api
from sweep_operator.runtime.sweep_store import SweepStore

_OUTAGE_SECONDS = 600.0
"""kopf ends the process after an outage longer than its back-offs: 54 s by default, too short for a control plane's
upgrade."""


class _Backoffs(Collection[float]):
    """Growing, jittered pauses that add up to a time; kopf iterates over them anew for every request."""

    def __init__(self, total: float) -> None:
        self._pauses: list[float] = []
        pause = 1.0
        while sum(self._pauses) < total:
            self._pauses.append(pause)
            pause = min(30.0, pause * 2)

    def __iter__(self) -> Iterator[float]:
        return (pause * random.uniform(0.75, 1.25) for pause in self._pauses)

    def __len__(self) -> int:
        return len(self._pauses)

    def __contains__(self, pause: object) -> bool:
        return pause in self._pauses


async def watch_sweeps(sweeps: SweepStore, *, namespaces: Collection[str]) -> None:
    """Keep `sweeps` up to date until the process is asked to end."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> Any:
        if os.environ.get("KUBECONFIG"):
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

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
    settings.networking.error_backoffs = _Backoffs(_OUTAGE_SECONDS)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry,
        settings=settings,
        # kopf would ask for the user's name, and a container's user has none.
        identity=cast(Any, uuid.uuid4().hex),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
