"""A proxy between a store's client and its server, which strikes the requests that it is told to strike.

Each life of an attempt has a door (a port) of its own, so that requests can be counted for each, and a kill hits the
right process. It speaks HTTP/1.1 to the client and HTTP/1.0 to the server, whose replies then come in one piece.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

_Result = TypeVar("_Result")
_HOP_BY_HOP = ("connection", "keep-alive", "content-length", "transfer-encoding", "expect")
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: the connection ends in a reset, not in an orderly end."""


class Fate(Enum):
    """What becomes of a request."""

    REFUSED = "answered with the strike's status, unheard"
    RESET = "reset after half of its body"
    CUT = "carried out; the connection is reset in the middle of the reply"
    LOST = "carried out; the connection is reset before the reply"
    LATE = "reset without a reply, and carried out later, when all else has gone on"
    SILENT = "never heard and never answered"
    SLOW = "carried out and answered late"
    TRUNCATED = "answered with the first half of the content, as if that were all"
    FLIPPED = "answered with one bit of the content changed"
    KILLED = "the client is killed before the request is heard"
    KILLED_IN_BODY = "the client is killed after half of the request"
    KILLED_AFTER = "the client is killed when the request is carried out, before the reply"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request of a client; `target` is its path and query."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def writes(self) -> bool:
        return self.method in ("POST", "PUT")

    @property
    def downloads(self) -> bool:
        """Whether an object's content is asked for, and not a listing or metadata."""
        asked = parse_qs(urlsplit(self.target).query)
        return self.method == "GET" and (asked.get("alt") == ["media"] or self._names_an_object_of_s3(asked))

    def _names_an_object_of_s3(self, asked: dict[str, list[str]]) -> bool:
        path = urlsplit(self.target).path
        return "list-type" not in asked and not path.startswith(("/storage/", "/upload/")) and path.count("/") > 1


@dataclass(frozen=True, kw_only=True)
class Strike:
    """The requests of a life for which `meets` holds, from number `at` on (0 is the first), `count` of them.

    `seed` chooses the bit that changes, `pause_s` is how late a slow answer is.
    """

    fate: Fate
    at: int
    count: int = 1
    meets: Callable[[Request], bool] = lambda request: True
    status: int = 0
    content: bytes = b""
    seed: int = 0
    pause_s: float = 0.0


@dataclass
class Door:
    """Where one life knocks."""

    port: int = 0
    pid: int = 0
    strikes: list[Strike] = field(default_factory=list)
    requests: int = 0
    struck: list[str] = field(default_factory=list)
    late: list[Request] = field(default_factory=list)
    _met: dict[int, int] = field(default_factory=dict)

    def strike_for(self, request: Request) -> Strike | None:
        """Count the request, and return what strikes it; of several the first one."""
        self.requests += 1
        found = None
        for number, strike in enumerate(self.strikes):
            if strike.meets(request):
                met = self._met[number] = self._met.get(number, 0) + 1
                if found is None and strike.at < met <= strike.at + strike.count:
                    found = strike
        if found is not None:
            self.struck.append(f"{found.fate.name} {request.method} {urlsplit(request.target).path}")
        return found


class Proxy:
    """Runs in a thread of its own until it is closed."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def door(self, *strikes: Strike) -> Door:
        """Open a door."""
        door = Door(strikes=list(strikes))
        self._wait(self._open(door))
        return door

    def deliver(self, door: Door) -> None:
        """Carry out the requests that are late."""
        while door.late:
            # A server that refuses what comes need not hear it to its end.
            with suppress(ConnectionError):
                self._wait(self._carry(door.late.pop(0)))

    def close(self) -> None:
        """Close all doors, and cut whoever still stands in one."""
        self._wait(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _open(self, door: Door) -> None:
        server = await asyncio.start_server(
            lambda reader, writer: self._serve(door, reader, writer), "127.0.0.1", 0, limit=1 << 20
        )
        self._servers.append(server)
        door.port = server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(door, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, or was killed
        except asyncio.CancelledError:
            pass
        _reset(writer)

    async def _answer(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        pairs = [line.split(":", 1) for line in head[1:] if line]
        headers = tuple((name.strip(), value.strip()) for name, value in pairs)
        named = {name.lower(): value for name, value in headers}
        assert "transfer-encoding" not in named, "the clients of all stores say how long a request is"
        if named.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(named.get("content-length", "0"))
        request = Request(method=method, target=target, headers=headers, body=b"")
        strike = door.strike_for(request)
        if strike is not None and strike.fate in (Fate.RESET, Fate.KILLED_IN_BODY):
            await reader.readexactly(length // 2)
            if strike.fate is Fate.KILLED_IN_BODY:
                _kill(door)
            return False
        request = Request(method=method, target=target, headers=headers, body=await reader.readexactly(length))
        if strike is None:
            return await _reply(writer, request, *await self._carry(request))
        return await self._strike(strike, door, request, writer)

    async def _strike(self, strike: Strike, door: Door, request: Request, writer: asyncio.StreamWriter) -> bool:
        fate = strike.fate
        if fate is Fate.REFUSED:
            head = [f"HTTP/1.1 {strike.status} Struck", "Content-Type: application/octet-stream"]
            return await _reply(writer, request, head, strike.content)
        if fate is Fate.LATE:
            door.late.append(request)
            return False
        if fate is Fate.KILLED:
            _kill(door)
            return False
        if fate is Fate.SILENT:
            await asyncio.sleep(120)
            return False
        if fate is Fate.SLOW:
            await asyncio.sleep(strike.pause_s)
        head, content = await self._carry(request)
        if fate is Fate.KILLED_AFTER:
            _kill(door)
        if fate in (Fate.KILLED_AFTER, Fate.LOST):
            return False
        if fate is Fate.CUT:
            await _reply(writer, request, head, content, sent=len(content) // 2)
            return False
        if content and fate is Fate.TRUNCATED:
            content = content[: len(content) // 2]
        if content and fate is Fate.FLIPPED:
            at = strike.seed % (8 * len(content))
            changed = bytearray(content)
            changed[at // 8] ^= 1 << at % 8
            content = bytes(changed)
        return await _reply(writer, request, head, content)

    async def _carry(self, request: Request) -> tuple[list[str], bytes]:
        """Have the server answer a request; return the reply's first lines and its content."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            lines = [f"{request.method} {request.target} HTTP/1.0"]
            lines += [f"{name}: {value}" for name, value in request.headers if name.lower() not in _HOP_BY_HOP]
            lines += [f"Content-Length: {len(request.body)}", "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1") + request.body)
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
            return head.decode("latin-1").split("\r\n"), content
        finally:
            writer.close()


async def _reply(
    writer: asyncio.StreamWriter, request: Request, head: list[str], content: bytes, *, sent: int | None = None
) -> bool:
    length = str(len(content))
    lines = ["HTTP/1.1 " + head[0].split(" ", 1)[1]]
    for line in head[1:]:
        name, _, value = line.partition(":")
        if request.method == "HEAD" and name.lower() == "content-length":
            length = value.strip()
        if name.lower() not in _HOP_BY_HOP:
            lines.append(line)
    lines += [f"Content-Length: {length}", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + (b"" if request.method == "HEAD" else content[:sent]))
    await writer.drain()
    return True


def _kill(door: Door) -> None:
    os.kill(door.pid, signal.SIGKILL)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection, also where a process that was forked meanwhile holds it too."""
    connection = writer.get_extra_info("socket")
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the client was faster
    writer.transport.abort()
