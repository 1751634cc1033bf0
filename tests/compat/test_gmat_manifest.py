"""Manifests as gmat-sweep writes them, read here. GMAT itself is not needed: the runs' outcomes are made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gmat_sweep.errors import ManifestCorruptError
from gmat_sweep.manifest import Manifest, ManifestEntry

from resumable_sweep import ResumableSweep
from resumable_sweep._foreign import foreign_entries
from resumable_sweep._sources import damage_of

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE = "Traceback (most recent call last):\n  File ...\nRuntimeError: Moderator failed\n"


def manifest(runs: int) -> Manifest:
    return Manifest(
        script_sha256="ab" * 32,
        gmat_sweep_version="0.6.0",
        gmat_run_version="0.6.0",
        gmat_install_version="R2025a",
        python_version="3.11.7",
        os_platform="Linux",
        sweep_seed=7,
        parameter_spec={"Sat.SMA": [7000, 7100]},
        run_count=runs,
    )


def entry(run_id: int, status: Any) -> ManifestEntry:
    return ManifestEntry(
        run_id=run_id,
        overrides={"Sat.SMA": 7000.0 + run_id},
        status=status,
        output_paths={"report": Path(f"runs/{run_id}/report.parquet")} if status == "ok" else {},
        started_at=BEGIN + timedelta(seconds=run_id),
        ended_at=BEGIN + timedelta(seconds=run_id + 0.5),
        duration_s=0.5,
        stderr=TRACE if status == "failed" else None,
        log_path=Path(f"runs/{run_id}/gmat.log"),
        converged={"DC": True},
    )


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """Six runs, of which one failed and one was never begun; resumed, it went well, and the next was torn."""
    path = tmp_path / "manifest.jsonl"
    written = manifest(6)
    written.entries.append(entry(0, "ok"))
    written.save(path)
    for run_id, status in [(2, "failed"), (1, "ok"), (3, "failed"), (4, "skipped"), (2, "ok")]:
        written.append_entry(entry(run_id, status))
    written.close()
    torn = json.dumps(entry(3, "ok").to_dict(), sort_keys=True)
    with path.open("a") as file:
        file.write(torn[: len(torn) // 2])
    return path


def test_both_see_the_same_runs_in_the_same_states(interrupted: Path) -> None:
    theirs = Manifest.load(interrupted)
    mine = list(foreign_entries(interrupted) or ())
    kinds = {"ok": "done", "failed": "failed", "skipped": "skipped"}
    assert [(each["key"], each["kind"]) for each in mine] == [(run.run_id, kinds[run.status]) for run in theirs.entries]
    assert [each["key"] for each in mine if each["kind"] == "failed"] == Manifest.find_failed(interrupted)
    assert damage_of(interrupted) is None
    for found, run in zip(mine, theirs.entries, strict=True):
        said = run.to_dict()
        if found["kind"] == "done":
            assert found["result"] == {name: said[name] for name in found["result"]}
            assert said.keys() - found["result"] == {"run_id", "status", "stderr", "started_at", "ended_at"}
            assert (found["started"], found["ended"]) == (run.started_at.timestamp(), run.ended_at.timestamp())
        elif found["kind"] == "failed":
            assert (found["error"], found["traceback"]) == ("RuntimeError: Moderator failed", run.stderr)


def test_a_sweep_goes_on_from_it(interrupted: Path, tmp_path: Path) -> None:
    with ResumableSweep(
        range(6), lambda run_id: run_id, tmp_path / "results.jsonl", resume_from=interrupted, show_progress=False
    ) as sweep:
        assert [result["overrides"]["Sat.SMA"] for result in sweep.completed] == [7000.0, 7001.0, 7002.0]
        ran = []
        for run_id in sweep.pending:
            ran.append(run_id)
            sweep.record(run_id, {"overrides": {"Sat.SMA": 7000.0 + run_id}})
        # What failed and what was never begun; what was skipped stays so.
        assert ran == [3, 5]


def test_a_damaged_line_costs_its_run_here_and_everything_there(interrupted: Path) -> None:
    lines = interrupted.read_bytes().split(b"\n")
    lines[1] = lines[1][:40]
    interrupted.write_bytes(b"\n".join(lines))
    with pytest.raises(ManifestCorruptError, match="line 2"):
        Manifest.load(interrupted)
    assert [each["key"] for each in foreign_entries(interrupted) or ()] == [2, 1, 3, 4]
    assert damage_of(interrupted) == "line 2 of manifest.jsonl cannot be read"
