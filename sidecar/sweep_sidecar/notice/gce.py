"""Compute Engine: the preemption of a Spot machine, and the maintenance of a host.

`instance/preempted` turns from FALSE to TRUE when the machine has 30 s left
(https://cloud.google.com/compute/docs/instances/create-use-spot#detect-preemption); `instance/maintenance-event` is
NONE, or says what will be done to the machine (https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice).
Values are waited for with `wait_for_change`, `timeout_sec` and `last_etag`
(https://cloud.google.com/compute/docs/metadata/querying-metadata#waitforchange).
"""

from __future__ import annotations

from collections.abc import Callable

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.metadata import SHORTLY_S, Fetch, NoNotices, unexpected

HEADERS = {"Metadata-Flavor": "Google"}
FLAVOR = ("metadata-flavor", "Google")
"""Header of every answer of Google's, its stand-in on GKE included."""
NOTICE_S = 30.0
_WAIT_S = 20
_PREEMPTED = "/computeMetadata/v1/instance/preempted"
_MAINTENANCE = "/computeMetadata/v1/instance/maintenance-event"
# A migration of the running machine (MIGRATE_ON_HOST_MAINTENANCE) ends nothing.
_STOPS = "TERMINATE_ON_HOST_MAINTENANCE"
_NOT_SERVED = (
    "this node's metadata server does not show instance/preempted to pods, as on GKE where pods have a workload "
    "identity: a reclaim is seen when the node shuts down"
)


class GceReader:
    """Waits for `preempted` to change, and looks at `maintenance-event` in between.

    Parameters
    ----------
    clock:
        Unix seconds.
    """

    cloud = "Google Cloud"
    # Only against a server that answers at once where it should wait: a change during the pause is not missed.
    pause_s = 0.5

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._etag = ""
        self._preempted: Announcement | None = None

    def read(self) -> Announcement | None:
        self._look_for_preemption()
        return self._preempted or self._maintenance()

    def _look_for_preemption(self) -> None:
        path, timeout_s = _PREEMPTED, SHORTLY_S
        # Not before a first answer: what stood when this process began would be waited for until it changes.
        if self._etag:
            path = f"{path}?wait_for_change=true&timeout_sec={_WAIT_S}&last_etag={self._etag}"
            timeout_s = _WAIT_S + 5.0
        reply = self._fetch(path, HEADERS, timeout_s=timeout_s)
        if reply.is_missing:
            raise NoNotices(_NOT_SERVED)
        said = reply.body.upper()
        if reply.status != 200 or said not in ("TRUE", "FALSE"):
            raise unexpected(_PREEMPTED, reply)
        self._etag = reply.headers.get("etag", "")
        if said == "FALSE":
            self._preempted = None
        elif self._preempted is None:
            self._preempted = Announcement(NoticeKind.GCE_PREEMPTED, self._clock() + NOTICE_S)

    def _maintenance(self) -> Announcement | None:
        reply = self._fetch(_MAINTENANCE, HEADERS)
        if reply.is_missing:
            return None
        if reply.status != 200:
            raise unexpected(_MAINTENANCE, reply)
        return Announcement(NoticeKind.GCE_MAINTENANCE) if reply.body == _STOPS else None
