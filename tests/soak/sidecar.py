"""A mirror that lives for long: a real process among a real store's server, an operator and a cloud in trouble.

In the end it is sealed, what it has stored is restored in another pod, and held against what the experiment has left.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.sidecar_pod import Mirror, Pod, cpu_seconds
from integration.store.gcs_server import Emulator
from resumable_sweep.contract import environment as names
from rig.progress import say
from soak import experiment
from soak.process import DESCRIPTORS, MEMORY, THREADS, WATCHES, sampled
from soak.soaked import Soaked
from soak.surroundings import Surroundings
from soak.timetable import troubles_at
from soak.verdict import Bound, Sample, verdict_on

_LONGEST_CYCLE_S = 180.0
_WARM_UP_CYCLES = 2
_LEAST_CYCLES = 10
_SAMPLES_A_CYCLE = 18
_SAMPLES_A_WINDOW = 6
_STEP_S = 0.25
_RATE = "processor"
_PRIVATE = "files of its own"
_RECORDED = "records"
_DONE = {
    "generations": "generations_total",
    "looks that held": 'looks_total{outcome="held"}',
    "looks cut short": 'looks_total{outcome="unreachable"}',
}
_BYTES_A_RECORD = 300
"""What a mirror knows of each record, for as long as it lives (docs/reference/sidecar.md, "Memory and time")."""
_MEMORY_AN_HOUR = 6.0
_PROCESSOR_AN_HOUR = 5.0


def soaked(folder: Path, *, minutes: float) -> Soaked:
    """Let a mirror live for `minutes` in `folder`, and say what it holds all the while."""
    cycle_s = min(_LONGEST_CYCLE_S, minutes * 60 / _LEAST_CYCLES)
    with _surrounded(folder) as (surroundings, pods):
        pod, next_pod = pods
        pod.restored()
        with pod.mirror() as mirror:
            mirror.wait_until_healthy()
            with _experiment(pod) as program:
                samples = list(_sampled(mirror, pod, program, surroundings, minutes=minutes, cycle_s=cycle_s))
                surroundings.be_in(frozenset())
            met = {**_met(mirror), **surroundings.met}
            mirror.sealed()
        next_pod.restored()
        wrong = _differences(pod.snapshot, next_pod.snapshot)
    window_s = cycle_s / _SAMPLES_A_CYCLE * _SAMPLES_A_WINDOW
    findings = verdict_on(samples, _bounds(samples), warm_up_s=_WARM_UP_CYCLES * cycle_s, window_s=window_s)
    return Soaked(samples=samples, findings=findings, wrong=wrong, met=met)


@contextmanager
def _surrounded(folder: Path) -> Iterator[tuple[Surroundings, tuple[Pod, Pod]]]:
    with ExitStack() as ends:
        server = Emulator(folder / "server")
        server.directory.mkdir()
        server.start()
        ends.callback(server.stop)
        url = f"gs://{server.make_bucket()}/run"
        surroundings = Surroundings(server.port)
        ends.callback(surroundings.close)
        environment = {**server.environment(surroundings.store_url, bucket=""), **surroundings.variables}
        variables = {names.COMMIT: experiment.COMMIT, names.INTERVAL: 10}
        first, second = (Pod(folder, url, environment, attempt=attempt, **variables) for attempt in (0, 1))
        yield surroundings, (first, second)


@contextmanager
def _experiment(pod: Pod) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**pod.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    with pod.log.with_name("experiment.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "soak.experiment"], env=environment, stdout=log, stderr=log)
        try:
            yield process
            process.terminate()
            if (code := process.wait(60)) != 128 + signal.SIGTERM:
                raise RuntimeError(f"the experiment exited {code}: {Path(log.name).read_text()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _sampled(
    mirror: Mirror,
    pod: Pod,
    program: subprocess.Popen[bytes],
    surroundings: Surroundings,
    *,
    minutes: float,
    cycle_s: float,
) -> Iterator[Sample]:
    began = time.monotonic()
    next_s, before_s, used_s = 0.0, 0.0, cpu_seconds(mirror.pid)
    while (at_s := time.monotonic() - began) < minutes * 60:
        if not mirror.is_running or program.poll() is not None:
            raise RuntimeError(f"{'the experiment' if mirror.is_running else 'the mirror'} ended after {at_s:.0f} s")
        surroundings.be_in(troubles_at(at_s, cycle_s=cycle_s))
        if at_s >= next_s:
            next_s += cycle_s / _SAMPLES_A_CYCLE
            total_s = cpu_seconds(mirror.pid)
            values = {**sampled(mirror.pid), **_left_in(pod.snapshot)}
            if at_s > before_s:
                values[_RATE] = 100 * (total_s - used_s) / (at_s - before_s)
            before_s, used_s = at_s, total_s
            yield Sample(at_s=at_s, values=values)
            if int(at_s / cycle_s) > int((at_s - cycle_s / _SAMPLES_A_CYCLE) / cycle_s):
                say(f"  {at_s / 60:.0f} of {minutes:g} minutes: {_told(values)}")
        time.sleep(_STEP_S)


def _left_in(snapshot: Path) -> dict[str, float]:
    log = snapshot / experiment.LOG
    return {
        _PRIVATE: len(list((snapshot / names.PRIVATE_FOLDER).iterdir())),
        _RECORDED: log.read_bytes().count(b'{"kind":"done"') if log.exists() else 0,
    }


def _met(mirror: Mirror) -> dict[str, int]:
    found = mirror.metrics()
    return {what: int(found.get(f"resumable_sweep_mirror_{name}", 0)) for what, name in _DONE.items()}


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in values.items())


def _bounds(samples: Sequence[Sample]) -> list[Bound]:
    last = samples[-1]
    known = last.values[_RECORDED] / last.at_s * 3600 * _BYTES_A_RECORD / 2**20
    return [
        Bound(quantity=MEMORY, unit="MiB", most_an_hour=_MEMORY_AN_HOUR + known),
        Bound(quantity=_RATE, unit="% of a core", most_an_hour=_PROCESSOR_AN_HOUR, of="mean"),
        *(Bound(quantity=name, unit="") for name in (DESCRIPTORS, THREADS, WATCHES, _PRIVATE)),
    ]


def _differences(left: Path, restored: Path) -> list[str]:
    mine, theirs = _digests(left), _digests(restored)
    return [
        f"{name}: {'not restored' if name not in theirs else 'not there' if name not in mine else 'another content'}"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not (name := str(path.relative_to(folder))).startswith((names.PRIVATE_FOLDER, ".")) and ".tmp" not in name
    }
