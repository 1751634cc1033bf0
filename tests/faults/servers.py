"""The servers of object stores' protocols behind the proxy, and how each says what goes wrong there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from integration.store.gcs_server import Emulator
from integration.store.s3_server import S3Server
from integration.store.server import Server


@dataclass(frozen=True)
class Answer:
    """A status of HTTP with the content that tells a client what it means."""

    status: int
    content: bytes


@dataclass(frozen=True)
class Wording:
    """The answers of a store: overloaded (one of several), bucket gone, credentials expired."""

    overloaded: tuple[Answer, ...]
    gone: Answer
    expired: Answer


def _google(status: int, message: str) -> Answer:
    # https://cloud.google.com/storage/docs/json_api/v1/status-codes
    return Answer(status, f'{{"error":{{"code":{status},"message":"{message}"}}}}'.encode())


def _amazon(status: int, code: str) -> Answer:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    return Answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>struck</Message></Error>'.encode())


WORDINGS: Mapping[str, Wording] = {
    "gcs": Wording(
        overloaded=(_google(429, "rateLimitExceeded"), _google(503, "backendError"), _google(500, "internalError")),
        gone=_google(404, "The specified bucket does not exist."),
        expired=_google(401, "Invalid Credentials"),
    ),
    "s3": Wording(
        overloaded=(_amazon(503, "SlowDown"), _amazon(503, "ServiceUnavailable"), _amazon(500, "InternalError")),
        gone=_amazon(404, "NoSuchBucket"),
        expired=_amazon(400, "ExpiredToken"),
    ),
}
_KINDS: Mapping[str, type[Server]] = {"gcs": Emulator, "s3": S3Server}
_running: dict[str, Server] = {}


@contextmanager
def running(names: Iterable[str]) -> Iterator[None]:
    """Have these servers run, for this process and those it forks."""
    with ExitStack() as ends:
        for name in names:
            server = _KINDS[name](Path(ends.enter_context(tempfile.TemporaryDirectory(prefix=f"faults-{name}-"))))
            with _on_a_silent_screen():
                server.start()
            _running[name] = server
            ends.callback(_running.pop, name)
            ends.callback(server.stop)
        yield


@contextmanager
def _on_a_silent_screen() -> Iterator[None]:
    """What is started here has nobody to tell of each request."""
    screen, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(silent)


def server_named(name: str) -> Server:
    """Return a server that runs."""
    return _running[name]
