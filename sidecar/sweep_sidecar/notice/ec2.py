"""EC2: the interruption of a Spot instance, and the recommendation to leave one.

`spot/instance-action` is 404 until the instance has two minutes left, then {"action", "time"}; AWS recommends to ask
every 5 s (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html).
`events/recommendations/rebalance` is 404 until the risk of an interruption has grown
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html). Both want a session's token
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.metadata import Fetch, NoNotices, NoReply, unexpected

NOTICE_S = 120.0
_TOKEN = "/latest/api/token"
_TOKEN_HEADERS = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
_ROOT = "/latest/meta-data/"
_ACTION = "/latest/meta-data/spot/instance-action"
_REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
_OUT_OF_REACH = (
    "EC2's metadata server answers nodes only, not pods: set the instances' HttpPutResponseHopLimit to 2 or more, so "
    "that interruptions are heard of two minutes ahead"
)


class Ec2Reader:
    """Asks every 5 s. `token` is that of a session, empty where the server asks for none (its version 1).

    Parameters
    ----------
    clock:
        Unix seconds.
    """

    cloud = "EC2"
    pause_s = 5.0

    def __init__(self, fetch: Fetch, *, token: str, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token = token
        self._interruption: tuple[str, Announcement] | None = None

    def read(self) -> Announcement | None:
        said = self._said(_ACTION)
        if said is None:
            self._interruption = None
            return None if self._said(_REBALANCE) is None else Announcement(NoticeKind.EC2_REBALANCE)
        if self._interruption is None or self._interruption[0] != said:
            # Whatever the action is, stop, hibernate or terminate: nothing runs on here.
            deadline = _time_in(said) or self._clock() + NOTICE_S
            self._interruption = (said, Announcement(NoticeKind.EC2_INTERRUPTION, deadline))
        return self._interruption[1]

    def _said(self, path: str) -> str | None:
        reply = self._fetch(path, {"X-aws-ec2-metadata-token": self._token} if self._token else {})
        if reply.status == 401:
            # A session ends after six hours.
            self._token = new_token(self._fetch) or ""
            reply = self._fetch(path, {"X-aws-ec2-metadata-token": self._token})
        if reply.status == 404:
            return None
        if reply.status == 403:
            raise NoNotices("EC2's metadata server is switched off for this instance")
        if reply.status != 200:
            raise unexpected(path, reply)
        return reply.body


def new_token(fetch: Fetch) -> str | None:
    """Begin a session and return its token, None where the server knows no sessions.

    Raises
    ------
    NoReply
        Also where the answer does not get as far as this pod: it travels `HttpPutResponseHopLimit` hops only.
    """
    reply = fetch(_TOKEN, _TOKEN_HEADERS, method="PUT")
    return reply.body if reply.status == 200 and reply.body else None


def ec2_reader(fetch: Fetch, *, clock: Callable[[], float]) -> Ec2Reader | None:
    """Return what reads this metadata server, None where it is not EC2's.

    Raises
    ------
    NoReply
    NoNotices
        Where it is EC2's, and pods do not get a session.
    """
    try:
        token = new_token(fetch)
    except NoReply:
        # Its other answers travel any number of hops.
        status = fetch(_ROOT, {}).status
        if status == 401:
            raise NoNotices(_OUT_OF_REACH) from None
        return Ec2Reader(fetch, token="", clock=clock) if status == 200 else None
    return Ec2Reader(fetch, token=token, clock=clock) if token else None


def _time_in(said: str) -> float | None:
    try:
        moment = datetime.fromisoformat(json.loads(said)["time"])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, KeyError, TypeError):
        # That it is there is the message.
        return None
