"""The operator that lives for long: a real process on a real API server, among sweeps that come and go.

Sweeps, pods and nodes come and go in waves, while the API server dies and comes back, stands still, and is cut off.
Between the waves there is nothing at all: what the operator holds then, it holds for nobody.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fire.cluster import make_namespace, running_cluster
from fire.player import Player
from rig.progress import say
from soak.api_server import ApiServer
from soak.lives import Lives
from soak.operator_seen import ENTRIES, OBJECTS, SERIES, TASKS, WATCHER, OperatorSeen
from soak.process import DESCRIPTORS, MEMORY, THREADS
from soak.soaked import Soaked
from soak.verdict import Bound, Sample, verdict_on

_NAMESPACES = ("soak-a", "soak-b", "soak-c")
_SEED = 20_260_701
_LONGEST_WAVE_S = 50.0
_SHORTEST_WAVE_S = 5.0
_WAVES = 18
_FEWEST_WAVES = 9
_WARM_UP_WAVES = 3
_CALM_S = 20.0
"""What a wave's end takes about."""
_STILL_S = 4.0
_MEMORY_AN_HOUR = 10.0
_OBJECTS_AN_HOUR = 2000.0
_WATCHER_AN_HOUR = 60.0
_CONNECTIONS_AN_HOUR = 6.0
"""One more or less may be open; the API server is cut off or restarted 30 times an hour."""
_SERIES_AN_HOUR = 200.0
"""Some answers are rare, and have a series of their own once they came; hundreds of sweeps an hour must have none."""


def soaked(folder: Path, *, minutes: float) -> Soaked:
    """Let an operator live for `minutes`, and say what it holds all the while."""
    wave_s = max(_SHORTEST_WAVE_S, min(_LONGEST_WAVE_S, minutes * 60 / _WAVES - _CALM_S))
    met: Counter[str] = Counter()
    wrong: list[str] = []
    with _surrounded(folder) as (operator, server, player):
        began = time.monotonic()
        fresh = operator.entries()
        samples: list[Sample] = []
        wave = 0
        while time.monotonic() - began < minutes * 60 or wave < _FEWEST_WAVES:
            _let_live(wave, wave_s, operator=operator, server=server, player=player, met=met, wrong=wrong)
            left = operator.left_when_calm(fresh)
            samples.append(Sample(at_s=time.monotonic() - began, values=operator.sampled(fresh)))
            wave += 1
            held_yet = "".join(f", {name} {more}" for name, more in left.items())
            say(f"  {samples[-1].at_s / 60:.1f} of {minutes:g} minutes: {_told(samples[-1].values)}{held_yet}")
        left = operator.left(fresh)
        wrong += [f"{where}: {count} entries of what is gone" for where, count in left.items()]
        wrong += operator.complaints()
        (folder.parent / "operator-types.json").write_text(json.dumps(operator.types_then_and_now(), indent=1))
    met["waves"] = wave
    warm_up_s = samples[min(_WARM_UP_WAVES, len(samples) - 1)].at_s
    findings = verdict_on(samples, _BOUNDS, warm_up_s=warm_up_s, window_s=1.0)
    return Soaked(samples=samples, findings=findings, wrong=wrong, met=dict(sorted(met.items())))


_BOUNDS = [
    Bound(quantity=MEMORY, unit="MiB", most_an_hour=_MEMORY_AN_HOUR),
    Bound(quantity=OBJECTS, unit="", most_an_hour=_OBJECTS_AN_HOUR),
    Bound(quantity=WATCHER, unit="", most_an_hour=_WATCHER_AN_HOUR),
    Bound(quantity=SERIES, unit="", most_an_hour=_SERIES_AN_HOUR),
    *(Bound(quantity=name, unit="", most_an_hour=_CONNECTIONS_AN_HOUR) for name in (DESCRIPTORS, TASKS)),
    *(Bound(quantity=name, unit="") for name in (THREADS, ENTRIES)),
]


def _let_live(
    wave: int,
    wave_s: float,
    *,
    operator: OperatorSeen,
    server: ApiServer,
    player: Player,
    met: Counter[str],
    wrong: list[str],
) -> None:
    """Let sweeps live for so long, with one trouble among them, and return when all of them are gone."""
    over = threading.Event()

    def live(number: int, namespace: str) -> None:
        choice = random.Random(f"{_SEED}/{wave}/{number}")
        lives = Lives(
            api=operator.api,
            player=player,
            namespace=namespace,
            endpoint=operator.url,
            random=choice,
            was_in_trouble=server.was_in_trouble,
            met=met,
        )
        while not over.is_set():
            since = time.monotonic()
            try:
                lives.live()
            except Exception as error:
                # What is played around the operator may have failed with the API server.
                if not server.was_in_trouble(since):
                    wrong.append(f"{type(error).__name__}: {error}")
                met["sweeps that were given up"] += 1

    threads = [threading.Thread(target=live, args=each, name=each[1]) for each in enumerate(_NAMESPACES)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + wave_s
    time.sleep(wave_s / 3)
    # In the main thread: what it starts ends with the thread that has started it.
    trouble = ("cut", "restart", "cut", "stand still")[wave % 4]
    met[f"API server: {trouble}"] += 1
    if trouble == "restart":
        server.restart()
    elif trouble == "stand still":
        server.stand_still(_STILL_S)
    else:
        server.cut()
    time.sleep(max(0.0, until - time.monotonic()))
    over.set()
    for thread in threads:
        thread.join()


@contextmanager
def _surrounded(folder: Path) -> Iterator[tuple[OperatorSeen, ApiServer, Player]]:
    with ExitStack() as ends:
        plane = ends.enter_context(running_cluster())
        server = ends.enter_context(ApiServer(plane, folder))
        for namespace in _NAMESPACES:
            make_namespace(plane.api, namespace)
        stage = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="rsw-soak-", dir="/dev/shm")))
        player = ends.enter_context(Player(plane.kubeconfig, folder=stage))
        operator = OperatorSeen(kubeconfig=server.kubeconfig, log=folder.parent / "operator.log", api=plane.api)
        ends.callback(operator.end)
        operator.wait_until_ready()
        yield operator, server, player


def _told(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in values.items())
