"""`make test-faults`: try every schedule of faults, on library, sidecar, store and operator, or those named.

The part `mutations` changes sweeps, field by field, in each phase.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.__main__ import machine
from crash import damage, disk_faults, kills, load, pods_struck, power
from crash.schedules import Kind, Schedule, parsed_schedule, sampled
from faults import kinds as store
from faults.servers import running
from fire import ground
from fire import kinds as operator
from mutations import kinds as mutations

PARTS: dict[str, tuple[Kind, ...]] = {
    "library": (kills.KIND, power.KIND, disk_faults.KIND, damage.KIND, load.KIND),
    "sidecar": pods_struck.KINDS,
    "store": store.KINDS,
    "operator": operator.KINDS,
    "mutations": mutations.KINDS,
}
KINDS: dict[str, Kind] = {kind.name: kind for kinds in PARTS.values() for kind in kinds}
_AT_A_TIME = {
    name: 16 if kind in PARTS["library"] else 1 if kind in PARTS["operator"] else 4 for name, kind in KINDS.items()
}
"""So many schedules are handed to a worker at a time: those of the library take milliseconds."""
_WORKERS_OF_EACH = {"operator": 2}
"""So many processes stand for one worker: an operator mostly waits."""
_RESULTS = Path("build/faults")
_SHOWN = 20
_REDRAWN_S = 5.0


def tried(schedule: Schedule) -> tuple[Schedule, list[str]]:
    """Try a schedule; return it with what went wrong."""
    try:
        return schedule, KINDS[schedule.kind].tried(schedule)
    except Exception as error:
        return schedule, [f"the harness failed: {type(error).__name__}: {error}"]


def main(given: Sequence[str]) -> int:
    """Try, write down and say what came of it; exit status 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="make test-faults", description=__doc__)
    parser.add_argument("schedules", nargs="*", metavar="kind/program/at/how/seed", help="try these only")
    parser.add_argument(
        "--kind", action="append", choices=sorted(KINDS), help="try all of this kind (default: of each)"
    )
    parser.add_argument("--part", choices=sorted(PARTS), help="try only this part (default: each)")
    parser.add_argument("--program", action="append", help="try only this program, style or server (default: each)")
    parser.add_argument("--sample", type=int, metavar="N", help="try N of each kind, at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    options = parser.parse_args(given)
    # Its schedules are counted in a run to which nothing happens.
    with ground.running() if _wants_operator(options) else nullcontext():
        return _tried_and_told(options)


def _wants_operator(options: argparse.Namespace) -> bool:
    names = {kind.name for kind in PARTS["operator"]}
    if options.schedules:
        return any(parsed_schedule(text).kind in names for text in options.schedules)
    return bool(names.intersection(options.kind)) if options.kind else options.part in (None, "operator")


def _tried_and_told(options: argparse.Namespace) -> int:
    chosen = _chosen(options)
    failures = []
    for part, kinds in PARTS.items():
        names = {kind.name for kind in kinds}
        if not (of_part := [schedule for schedule in chosen if schedule.kind in names]):
            continue
        started = time.monotonic()
        more: dict[str, Any] = {}
        if part == "mutations":
            with mutations.on_stage() as stage, ThreadPoolExecutor(mutations.AT_A_TIME) as threads:
                outcomes = _tried_all(of_part, threads)
                more = {"came_to": mutations.came_to(stage)}
        else:
            # Not a multiprocessing.Pool: its workers may have no children of their own.
            workers = options.workers * _WORKERS_OF_EACH.get(part, 1)
            processes = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))
            with _servers(of_part) if part == "store" else nullcontext(), processes:
                outcomes = _tried_all(of_part, processes)
        wrong_ones = [(schedule, wrong) for schedule, wrong in outcomes if wrong]
        failures += wrong_ones
        if not options.schedules:
            _write(part, of_part, wrong_ones, options, seconds=time.monotonic() - started, more=more)
    for schedule, wrong in sorted(failures)[:_SHOWN]:
        print(f"{schedule}\n   " + "\n   ".join(text[-2000:] for text in wrong))
    if len(failures) > _SHOWN:
        print(f"... and {len(failures) - _SHOWN} more")
    print(
        f"{len(chosen)} schedules tried, {len(failures)} went wrong" + ("" if options.schedules else f" -> {_RESULTS}/")
    )
    return 1 if failures else 0


def _chosen(options: argparse.Namespace) -> list[Schedule]:
    if options.schedules:
        return [parsed_schedule(text) for text in options.schedules]
    chosen: list[Schedule] = []
    names = [kind.name for part in PARTS if options.part in (None, part) for kind in PARTS[part]]
    for name in options.kind or names:
        found = [one for one in KINDS[name].schedules() if not options.program or one.program in options.program]
        chosen += sampled(found, options.sample, seed=options.seed) if options.sample is not None else found
        print(f"{name}: {len(found)} schedules", flush=True)
    return chosen


def _tried_all(chosen: Sequence[Schedule], pool: Executor) -> list[tuple[Schedule, list[str]]]:
    outcomes = []
    wrong = 0
    started = shown = time.monotonic()
    for schedule, problems in pool.map(tried, chosen, chunksize=_AT_A_TIME[chosen[0].kind]):
        outcomes.append((schedule, problems))
        wrong += bool(problems)
        if problems:
            print(f"{schedule} went wrong", flush=True)
        now = time.monotonic()
        if now - shown >= _REDRAWN_S:
            shown = now
            left = (now - started) / len(outcomes) * (len(chosen) - len(outcomes))
            print(f"{len(outcomes)} of {len(chosen)} ({schedule.kind}), {wrong} wrong, {left:.0f} s to go", flush=True)
    return outcomes


def _servers(chosen: Sequence[Schedule]) -> AbstractContextManager[None]:
    from faults import run

    assert run  # imported before the workers are forked: each of them would spend seconds on it
    return running(sorted({schedule.program for schedule in chosen}))


def _write(
    part: str,
    chosen: Sequence[Schedule],
    failures: Sequence[tuple[Schedule, list[str]]],
    options: argparse.Namespace,
    *,
    seconds: float,
    more: Mapping[str, Any],
) -> None:
    failed = Counter(schedule.kind for schedule, _ in failures)
    kinds: dict[str, Any] = {}
    for kind in dict.fromkeys(schedule.kind for schedule in chosen):
        programs = Counter(schedule.program for schedule in chosen if schedule.kind == kind)
        kinds[kind] = {"tried": programs.total(), "failed": failed[kind], "by_program": dict(programs)}
    report = {
        "machine": machine(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "sample_of_each_kind": options.sample,
        "seed": options.seed,
        "tried": len(chosen),
        "failed": len(failures),
        "kinds": kinds,
        **more,
        "failures": [{"schedule": str(schedule), "wrong": wrong} for schedule, wrong in sorted(failures)],
    }
    _RESULTS.mkdir(parents=True, exist_ok=True)
    (_RESULTS / f"{part}.json").write_text(json.dumps(report, indent=2) + "\n")
    _write_report()


def _write_report() -> None:
    """Bring together what came of each part when it was last tried."""
    found = {part: _RESULTS / f"{part}.json" for part in PARTS}
    parts = {part: json.loads(path.read_text()) for part, path in found.items() if path.exists()}
    shown = ("ended", "seconds", "sample_of_each_kind", "seed", "tried", "failed", "kinds")
    report = {
        "tried": sum(each["tried"] for each in parts.values()),
        "failed": sum(each["failed"] for each in parts.values()),
        "parts": {part: {name: each.get(name) for name in shown} for part, each in parts.items()},
    }
    (_RESULTS / "report.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
