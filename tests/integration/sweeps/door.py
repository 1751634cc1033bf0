"""A door between an operator and its API server: it counts who knocks, and can be shut."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit


class Door:
    """Passes connections on to a port of this machine, byte by byte; a context manager.

    `knocks` counts connections and what is sent on them, in pieces: a request is one at least.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._shut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.knocks = 0
        self.port = 0

    def __enter__(self) -> Door:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def kubeconfig(self, original: Path, folder: Path) -> Path:
        """Write a kubeconfig that leads through this door, and return its path."""
        config = json.loads(original.read_text())
        cluster = config["clusters"][0]["cluster"]
        assert urlsplit(cluster["server"]).port == self._target
        cluster["server"] = f"https://127.0.0.1:{self.port}"
        path = folder / "through-the-door"
        path.write_text(json.dumps(config))
        return path

    def shut(self) -> None:
        """Reset all connections, and every one that comes."""
        self._shut = True
        self._loop.call_soon_threadsafe(self._reset_all)

    def is_empty(self) -> bool:
        """Whether nobody is connected through it."""
        return not self._writers

    def open(self) -> None:
        """Let connections through again."""
        self._shut = False

    def _reset_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # The transports close their sockets at the loop's next turn.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocks += 1
        if self._shut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            if not self._shut:
                await asyncio.gather(self._pump(reader, far_writer, counts=True), self._pump(far_reader, writer))
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                self.knocks += counts
                writer.write(piece)
                await writer.drain()
        writer.close()
