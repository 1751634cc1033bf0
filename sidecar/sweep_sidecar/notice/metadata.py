"""The metadata server of a cloud's machine: plain HTTP at an address that never leaves the machine's host."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

_MOST_BYTES = 1 << 20
SHORTLY_S = 2.0
"""How long an answer may take that the server has at hand."""


class NoReply(Exception):
    """The metadata server did not answer, or not with what it should: it may do so later."""


class NoNotices(Exception):
    """This metadata server announces nothing to pods, and will not; the message says why and what would help."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer; the names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether the server has nothing at that path, or shows it to nobody."""
        return self.status in (403, 404)


class Fetch(Protocol):
    """Asks the metadata server."""

    def __call__(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET", timeout_s: float = SHORTLY_S
    ) -> Reply:
        """Return the answer, whatever its status.

        Raises
        ------
        NoReply
        """
        ...


class MetadataServer:
    """The metadata server at `url`, `http://HOST[:PORT]`.

    It is asked without a proxy and no redirection is followed: what it says must come from this machine's own host.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host = address.hostname or ""
        self._port = address.port

    def __call__(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET", timeout_s: float = SHORTLY_S
    ) -> Reply:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return Reply(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.getheaders()},
                body=answer.read(_MOST_BYTES).decode(errors="replace").strip(),
            )
        except (OSError, http.client.HTTPException) as error:
            raise NoReply(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()


def unexpected(path: str, reply: Reply) -> NoReply:
    """Return the error for an answer that is none of those that are documented."""
    return NoReply(f"{path} was answered {reply.status} {reply.body[:80]!r}")
