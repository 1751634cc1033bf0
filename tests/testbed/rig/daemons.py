"""A program that is to be kept running, as data."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """One program; ``after`` names what must answer before it is started (see ``answers``)."""

    name: str
    argv: Sequence[str]
    after: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def answers(address: str, *, timeout: float = 1.0) -> bool:
    """Whether somebody listens at ``HOST:PORT`` or a Unix socket's path, or answers an ``https://`` URL with 200."""
    if address.startswith("https://"):
        return _is_ok(address, timeout)
    family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
    host, _, port = address.rpartition(":")
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(address if family == socket.AF_UNIX else (host, int(port)))
        except OSError:
            return False
    return True


def _is_ok(url: str, timeout: float) -> bool:
    # Asks only whether the server is up; nothing is sent that would need a verified peer.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    )
    try:
        with opener.open(url, timeout=timeout):
            return True
    except OSError:  # an answer other than 2xx is an OSError too
        return False


def last_lines(log: Path, *, count: int = 12) -> str:
    """The end of a log file, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return f"({log} was never written)"
