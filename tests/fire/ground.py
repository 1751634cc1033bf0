"""Where sweeps come under fire: one control plane for all processes, and a player in each."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fire.cluster import running_cluster
from fire.operator_host import OperatorHost
from fire.player import Player
from fire.stand import Stand
from fire.strikes import Strike


@dataclass
class _Ground:
    """What one process has of it."""

    pid: int
    player: Player
    host: OperatorHost
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


_kubeconfig: Path | None = None
_folder: Path | None = None
_ground: _Ground | None = None
_ends = ExitStack()


@contextmanager
def running() -> Iterator[None]:
    """Have a control plane run, for this process and those it forks; enter it in the main thread."""
    global _kubeconfig, _folder
    folder = Path(tempfile.mkdtemp(prefix="rsw-fire-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with running_cluster() as cluster:
            _kubeconfig, _folder = cluster.kubeconfig, folder
            try:
                yield
            finally:
                _leave()
    finally:
        _kubeconfig = _folder = None
        shutil.rmtree(folder, ignore_errors=True)


def stand(strike: Callable[[Stand], Strike], *, operators: int = 1, flaw: str = "") -> Stand:
    """Return a sweep's place under fire, see `Stand`."""
    ground = _entered()
    assert _kubeconfig is not None
    assert _folder is not None
    namespace = f"fire-{ground.pid}-{next(ground.numbers)}"
    return Stand(
        kubeconfig=_kubeconfig,
        folder=_folder / namespace,
        player=ground.player,
        host=ground.host,
        namespace=namespace,
        strike=strike,
        operators=operators,
        flaw=flaw,
    )


def _entered() -> _Ground:
    """Return this process' part: one that was forked has none of its parent's threads."""
    global _ground, _ends
    if _kubeconfig is None or _folder is None:
        raise RuntimeError("there is no control plane: enter `running` first")
    if _ground is None or _ground.pid != os.getpid():
        _ends = ExitStack()
        # What is overtaken here is meant to be.
        logging.getLogger("sweep_sidecar").setLevel(logging.CRITICAL)
        player = _ends.enter_context(Player(_kubeconfig, folder=_folder / f"player-{os.getpid()}"))
        _ground = _Ground(os.getpid(), player, _ends.enter_context(OperatorHost()))
    return _ground


def _leave() -> None:
    global _ground
    if _ground is not None and _ground.pid == os.getpid():
        _ends.close()
    _ground = None
