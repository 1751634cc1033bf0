"""What a mirror costs the experiment beside it, and what it takes while it waits for news; with a store on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.announcing_cloud import AnnouncingCloud
from bench.sidecar_pod import MIB, Mirror, Pod, cpu_seconds, fill
from integration.store.server import Server
from resumable_sweep.contract import environment as names

_INTERVAL_S = 10
_RARELY_S = 600
_STEADY_S = 0.1
_FILES = 100
_FILE_BYTES = 64 << 10
_LONGEST_WAIT_S = 120.0


def processor_share(folder: Path, server: Server, *, window_s: float, is_steady: bool) -> float:
    """Return the share of a core (%) that a mirror takes: `is_steady`: of ten records a second, else of no news."""
    pod = _pod(folder, server, interval_s=_INTERVAL_S)
    with _mirrored(pod) as mirror:
        fill(pod.snapshot, count=_FILES, size=_FILE_BYTES)
        _wait_for_generations(mirror, 1)
        if not is_steady:
            # The look after one with news: what it finds for the first time is not what it does for hours.
            time.sleep(_INTERVAL_S)
            return _share(mirror.pid, lambda: time.sleep(window_s))
        return _share(mirror.pid, lambda: _said(pod, "steady", window_s, _STEADY_S))


def durable_waits(folder: Path, server: Server, *, count: int, pause_s: float) -> list[float]:
    """Return how long `record(durable=True)` took for each of so many items, with pauses in between; seconds."""
    pod = _pod(folder, server, interval_s=_INTERVAL_S)
    with _mirrored(pod):
        waited: list[float] = _said(pod, "durable", count, pause_s)["waited_s"]
    return waited


def notice_to_sealed(folder: Path, server: Server, *, mib: int) -> tuple[float, float]:
    """Return the seconds from a cloud's notice until the program can see it, and until all `mib` MiB are sealed.

    Nothing of them was stored before. The program ends as soon as it sees the notice, and its pod with it.
    """
    with AnnouncingCloud() as cloud:
        pod = _pod(folder, server, interval_s=_RARELY_S, metadata_url=cloud.url)
        with _mirrored(pod) as mirror:
            _wait_until(lambda: "listening for the notices" in pod.log.read_text(), "the mirror to listen for notices")
            fill(pod.snapshot, count=1, size=mib * MIB)
            began = time.perf_counter()
            cloud.announce()
            notice = pod.snapshot / names.PRIVATE_FOLDER / names.NOTICE_NAME
            _wait_until(notice.exists, "the notice to be passed on")
            seen_s = time.perf_counter() - began
            mirror.sealed()
            sealed_s = time.perf_counter() - began
    _restore_and_compare(folder, server, pod)
    return seen_s, sealed_s


def slowdowns(folder: Path, server: Server, *, phase_s: float, pairs: int) -> list[float]:
    """Return by how much (%) items of equal work take longer while a mirror runs beside them than while it is halted.

    The two take turns of `phase_s`, whole intervals of the mirror's, which looks at once when it goes on; a number for
    each pair of turns, of which the mirror runs in the first and in the second one by turns.
    """
    pod = _pod(folder, server, interval_s=_INTERVAL_S)
    stop = folder / "stop"
    with _mirrored(pod) as mirror, _running(pod, "items", stop) as program:
        _wait_for_generations(mirror, 1)
        spans = [_span(mirror, phase_s, is_halted=turn % 4 in (1, 2)) for turn in range(2 * pairs)]
        mirror.send(signal.SIGCONT)
        stop.touch()
        ended_s = json.loads(program.communicate()[0])["ended_s"]
    beside, alone = (
        [span for turn, span in enumerate(spans) if (turn % 4 in (1, 2)) is is_halted] for is_halted in (False, True)
    )
    return longer_by(ended_s, beside=beside, alone=alone)


def longer_by(
    ended_s: Sequence[float], *, beside: Sequence[tuple[float, float]], alone: Sequence[tuple[float, float]]
) -> list[float]:
    """Return by how much (%) the items that ended in each span of `beside` took longer than those in its `alone`."""

    def mean(span: tuple[float, float]) -> float:
        first, last = bisect_left(ended_s, span[0]), bisect_left(ended_s, span[1]) - 1
        return (ended_s[last] - ended_s[first]) / (last - first)

    return [100 * (mean(one) / mean(other) - 1) for one, other in zip(beside, alone, strict=True)]


def _span(mirror: Mirror, seconds: float, *, is_halted: bool) -> tuple[float, float]:
    mirror.send(signal.SIGSTOP if is_halted else signal.SIGCONT)
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic()


def _pod(folder: Path, server: Server, *, interval_s: float, attempt: int = 0, metadata_url: str = "") -> Pod:
    folder.mkdir(exist_ok=True)
    remembered = folder / "bucket"
    if not remembered.exists():
        remembered.write_text(server.make_bucket())
    bucket = remembered.read_text()
    environment = server.environment(server.url, bucket=bucket)
    url = f"{server.scheme}://{bucket}/run"
    variables = {names.INTERVAL: interval_s, names.METADATA_URL: metadata_url}
    return Pod(folder, url, environment, attempt=attempt, **variables)


@contextmanager
def _mirrored(pod: Pod) -> Iterator[Mirror]:
    pod.restored()
    with pod.mirror() as mirror:
        mirror.wait_until_healthy()
        yield mirror


@contextmanager
def _running(pod: Pod, *given: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.sidecar_program", *map(str, given)]
    with subprocess.Popen(command, env=pod.environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def _said(pod: Pod, *given: object) -> dict[str, Any]:
    with _running(pod, *given) as program:
        found: dict[str, Any] = json.loads(program.communicate()[0])
    return found


def _share(pid: int, wait: Callable[[], object]) -> float:
    began, used_s = time.perf_counter(), cpu_seconds(pid)
    wait()
    return 100 * (cpu_seconds(pid) - used_s) / (time.perf_counter() - began)


def _restore_and_compare(folder: Path, server: Server, before: Pod) -> None:
    pod = _pod(folder, server, interval_s=_RARELY_S, attempt=1)
    pod.restored()
    left, restored = ({path.name: path.stat().st_size for path in one.snapshot.glob("*.bin")} for one in (before, pod))
    if not left or left != restored:
        raise RuntimeError(f"what was sealed is {left}, what came back is {restored}")


def _wait_for_generations(mirror: Mirror, least: int) -> None:
    name = "resumable_sweep_mirror_generations_total"
    _wait_until(lambda: mirror.metrics()[name] >= least, f"{least} generations")


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _LONGEST_WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {_LONGEST_WAIT_S:.0f} s for {what}")
        time.sleep(0.01)
