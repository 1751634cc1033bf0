"""One sweep under fire: a namespace, an operator or two behind a proxy, and what plays around them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from fire.api import KeptApi
from fire.cluster import make_namespace
from fire.operator_host import OperatorHost
from fire.operator_process import OperatorProcess
from fire.player import Player
from fire.proxy import Proxy
from fire.strikes import Strike
from fire.sweep import Sweep

STILL_SECONDS = 45.0
"""Where nothing moves for so long, nothing will any more: the operator's own pauses are shorter."""
_DEFECTS = ("a look failed", "Traceback (most recent call last)")


class Stuck(Exception):
    """What was waited for does not come."""


class Stand:
    """A context manager.

    Parameters
    ----------
    strike:
        Makes what goes wrong, given this stand.
    operators:
        How many of them work at the same time, which nothing forbids them.
    flaw:
        How the operator is broken, see `fire.flaws`.
    """

    def __init__(
        self,
        *,
        kubeconfig: Path,
        folder: Path,
        player: Player,
        host: OperatorHost,
        namespace: str,
        strike: Callable[[Stand], Strike],
        operators: int = 1,
        flaw: str = "",
    ) -> None:
        self.namespace = namespace
        self.player = player
        self._folder = folder
        ports = [_free_port() for _ in range(operators)]
        self.strike = strike(self)
        self.proxy = Proxy(kubeconfig, namespace=namespace, meddling=self.strike, ports=ports)
        self._api = KeptApi(kubeconfig)
        self.sweep = Sweep(self._api, namespace)
        self.operators = [
            OperatorProcess(
                host,
                kubeconfig=folder / "kubeconfig",
                log=folder / f"operator-{number}.log",
                port=port,
                namespaces=(namespace,),
                flaw=flaw,
            )
            for number, port in enumerate(ports)
        ]
        self._ends = ExitStack()

    def __enter__(self) -> Stand:
        self._folder.mkdir(parents=True)
        with ExitStack() as ends:
            ends.callback(self._api.close)
            make_namespace(self._api, self.namespace)
            self.player.play(self.namespace)
            ends.callback(self.player.leave, self.namespace)
            ends.enter_context(self.proxy)
            self.proxy.write_kubeconfig(self._folder / "kubeconfig")
            for operator in self.operators:
                operator.report_to(f"http://127.0.0.1:{self.proxy.port}")
                ends.callback(operator.kill)
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def again(self) -> None:
        """Kill the first operator, and start it again."""
        self.operators[0].kill()
        self.operators[0].start()

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until `condition` holds, as long as anything moves.

        Raises
        ------
        Stuck
        """
        seen: object = None
        moved_at = time.monotonic()
        while not self.sweep.holds(condition):
            if wrong := self.wrong():
                raise Stuck("; ".join(wrong))
            now = time.monotonic()
            if (there := self.sweep.progress()) != seen:
                seen, moved_at = there, now
            if now - moved_at > STILL_SECONDS:
                raise Stuck(f"{what}: waited for in vain; {self.sweep.told()}; {self.log()[-1500:]}")
            time.sleep(0.03)

    def wrong(self) -> list[str]:
        """Return what has been seen so far that must never be."""
        ended = [f"operator {number} has ended" for number, each in enumerate(self.operators) if each.has_ended()]
        log = self.log()
        failed = [log[log.index(defect) :][:3000] for defect in _DEFECTS if defect in log]
        # Of two operators one may hold an attempt for burnt whose pod the other is about to make.
        beside = [] if len(self.operators) > 1 else self.player.beside(self.namespace)
        return [*self.player.wrong(self.namespace), *beside, *ended, *failed[:1]]

    def log(self) -> str:
        """Return what the operators have said."""
        logs = sorted(self._folder.glob("operator-*.log"))
        return "\n".join(log.read_text() for log in logs)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
