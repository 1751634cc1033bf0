"""The API server in trouble: it dies and comes back, stands still, or what leads to it is cut."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from rig.api import wait_until
from rig.binaries import binaries
from rig.control_plane import ControlPlane, api_server, write_kubeconfig
from soak.relay import Relay

_NAME = "kube-apiserver"
_READY_SECONDS = 90


class ApiServer:
    """The API server of a control plane; `kubeconfig` leads to it by a way that can be cut. A context manager."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        self._relay = Relay(plane.layout.api_port)
        self.kubeconfig = folder / "kubeconfig"
        self.troubles: list[tuple[float, float]] = []
        """From when until when there were some (monotonic seconds)."""
        self._mine: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ApiServer:
        with ExitStack() as ends:
            relay = ends.enter_context(self._relay)
            token = (self._plane.layout.authority.directory / "tokens.csv").read_text().split(",")[0]
            write_kubeconfig(
                self.kubeconfig,
                server=f"https://127.0.0.1:{relay.port}",
                authority=self._plane.layout.authority,
                user={"token": token},
            )
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mine is not None:
            self._mine.kill()
            self._mine.wait()
        self._ends.close()

    def cut(self) -> None:
        """Cut all that the operator has open to it."""
        self._relay.cut()

    def restart(self) -> None:
        """End it as a crash would, and start it again; return when it is ready."""
        with self._in_trouble():
            pid = self._pid()
            os.kill(pid, signal.SIGKILL)
            if self._mine is not None:
                self._mine.wait()
            layout = self._plane.layout
            daemon = api_server(layout, binaries((_NAME,))[_NAME], reaches_nodes=False)
            with (layout.directory / f"{_NAME}.log").open("ab") as log:
                self._mine = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *daemon.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            wait_until(self._plane.api.is_ready, what="the API server to be back", seconds=_READY_SECONDS)

    def stand_still(self, seconds: float) -> None:
        """Have it do nothing for so long, as on a machine that has come to a halt."""
        with self._in_trouble():
            pid = self._pid()
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)
            wait_until(self._plane.api.is_ready, what="the API server to be back", seconds=_READY_SECONDS)

    def was_in_trouble(self, since: float) -> bool:
        """Return whether there was trouble after `since` (monotonic seconds)."""
        return any(until >= since for _, until in self.troubles)

    @contextlib.contextmanager
    def _in_trouble(self) -> Iterator[None]:
        begin = time.monotonic()
        self.troubles.append((begin, float("inf")))
        try:
            yield
        finally:
            self.troubles[-1] = (begin, time.monotonic())

    def _pid(self) -> int:
        directory = str(self._plane.layout.directory).encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    if words[0].endswith(_NAME.encode()) and any(directory in word for word in words):
                        return int(folder.name)
        raise RuntimeError("there is no API server to bring into trouble")
