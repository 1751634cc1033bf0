"""A sweep that gmat-sweep runs and resumes by its manifest; in place of GMAT a pool of its own makes up the orbits."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from gmat_sweep import Pool, RunOutcome, RunSpec, Sweep, expand_grid_to_run_specs

SCRIPT = Path(__file__).with_name("mission.script")
GRID = {"Sat.SMA": [6900.0, 7000.0, 7100.0, 7200.0, 7300.0], "Sat.INC": [0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 98.0]}
_PACE_SECONDS = 1.0
_MU = 398_600.4418


class Orbits(Pool):
    """Runs one spec at a time, in this process: no GMAT, so there is nothing to isolate."""

    def __init__(self) -> None:
        self._specs: dict[Future[RunOutcome], RunSpec] = {}

    def submit(self, spec: RunSpec) -> Future[RunOutcome]:
        future: Future[RunOutcome] = Future()
        self._specs[future] = spec
        return future

    def as_completed(self, futures: Iterable[Future[RunOutcome]]) -> Iterator[RunOutcome]:
        for future in futures:
            yield orbit(self._specs.pop(future))

    def close(self) -> None:
        """Nothing to release."""


def orbit(spec: RunSpec) -> RunOutcome:
    """Return a run's outcome, after a wait as for GMAT, with its report beside it."""
    begun = datetime.now(UTC)
    time.sleep(_PACE_SECONDS)
    radius, tilt = spec.overrides["Sat.SMA"], math.radians(spec.overrides["Sat.INC"])
    period = 2 * math.pi * math.sqrt(radius**3 / _MU)
    seconds = [period * part / 64 for part in range(64)]
    heights = [radius * math.sin(tilt) * math.sin(2 * math.pi * at / period) for at in seconds]
    spec.output_dir.mkdir(parents=True, exist_ok=True)
    path = spec.output_dir / "report__orbit.parquet"
    # As GMAT's own worker does: in place, and before the manifest speaks of it.
    pd.DataFrame({"time": seconds, "z": heights}).to_parquet(path)
    print("ran", spec.run_id, flush=True)
    return RunOutcome.ok(
        run_id=spec.run_id,
        output_paths={"report__orbit": path},
        converged={"DC": True},
        started_at=begun,
        ended_at=begun + timedelta(seconds=_PACE_SECONDS),
        duration_s=_PACE_SECONDS,
    )


def main() -> None:
    folder = Path(os.environ["SWEEP_SNAPSHOT_DIR"])
    manifest = folder / "manifest.jsonl"
    with Orbits() as pool:
        if manifest.exists():
            sweep = Sweep.from_manifest(manifest, SCRIPT, backend=pool, progress=False).resume()
        else:
            sweep = Sweep(
                runs=expand_grid_to_run_specs(GRID, SCRIPT, folder),
                backend=pool,
                manifest_path=manifest,
                output_dir=folder,
                script_path=SCRIPT,
                parameter_spec={"_kind": "grid", **GRID},
                progress=False,
            ).run()
        found = sweep.to_dataframe()
    print(f"{len(found)} rows of {found.index.get_level_values('run_id').nunique()} runs", flush=True)


if __name__ == "__main__":
    main()
