"""Azure: scheduled events, of which only those count that name this machine.

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events. The list has the events of all machines of a
scale set's placement group. None is approved here: that would start it at once, and for all machines that it names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.metadata import SHORTLY_S, Fetch, NoNotices, unexpected

NOTICE_S = 30.0
_HEADERS = {"Metadata": "true"}
_NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
_EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
# The first question of all switches the service on for the machine, "up to two minutes".
_FIRST_S = 150.0
_PREEMPT = "Preempt"


class AzureReader:
    """Asks every 2 s for the events of the machine called `name`.

    Parameters
    ----------
    clock:
        Unix seconds.
    """

    cloud = "Azure"
    # A machine is answered five times a second, and may have a pod for each of its GPUs.
    pause_s = 2.0

    def __init__(self, fetch: Fetch, *, name: str, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._name = name.lower()
        self._clock = clock
        self._timeout_s = _FIRST_S
        self._announced: dict[str, Announcement] = {}

    def read(self) -> Announcement | None:
        reply = self._fetch(_EVENTS, _HEADERS, timeout_s=self._timeout_s)
        self._timeout_s = 5 * SHORTLY_S
        if reply.is_missing:
            raise NoNotices("this node's metadata server does not show scheduled events to pods")
        if reply.status != 200:
            raise unexpected(_EVENTS, reply)
        try:
            events = [event for event in json.loads(reply.body)["Events"] if self._is_here(event)]
            # What was announced first stands: an event that has started has no time any more.
            self._announced = {
                str(event["EventId"]): self._announced.get(str(event["EventId"])) or self._announcement(event)
                for event in events
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise unexpected(_EVENTS, reply) from error
        return min(self._announced.values(), key=_urgency, default=None)

    def _is_here(self, event: Mapping[str, Any]) -> bool:
        return self._name in (str(name).lower() for name in event["Resources"])

    def _announcement(self, event: Mapping[str, Any]) -> Announcement:
        is_hard = event["EventType"] == _PREEMPT
        kind = NoticeKind.AZURE_PREEMPT if is_hard else NoticeKind.AZURE_MAINTENANCE
        if event.get("EventStatus") == "Started":
            return Announcement(kind, self._clock())
        deadline = _moment(str(event.get("NotBefore") or ""))
        if deadline is None and is_hard:
            deadline = self._clock() + NOTICE_S
        return Announcement(kind, deadline)


def azure_reader(fetch: Fetch, *, clock: Callable[[], float]) -> AzureReader | None:
    """Return what reads this metadata server, None where it is not Azure's.

    Raises
    ------
    NoReply
    """
    reply = fetch(_NAME, _HEADERS)
    return AzureReader(fetch, name=reply.body, clock=clock) if reply.status == 200 and reply.body else None


def _urgency(announced: Announcement) -> tuple[bool, float]:
    return not announced.kind.is_hard, float("inf") if announced.deadline is None else announced.deadline


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
