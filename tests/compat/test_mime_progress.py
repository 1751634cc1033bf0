"""The progress file, as mime-engine and this library write it and read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maddening.core.simulation.checkpoint import CheckpointIntegrityError
from mime.data.sweep_resume import ResumableSweep as MimeSweep
from mime.data.sweep_resume import fetch_resume, load_progress, save_progress

from compat.work import ITEMS, label_of, result_of
from resumable_sweep._foreign import foreign_entries
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._foreign.mime_progress import previous_path, progress_path
from resumable_sweep._sources import damage_of, fetched
from resumable_sweep.contract.manifest import manifest_path

RECORDS = [(label_of(item), result_of(item)) for item in ITEMS]


def as_mime_has_them(records: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"key": key, "result": result} for key, result in records]


def records_in(path: Path) -> list[tuple[Any, Any]]:
    entries = foreign_entries(path)
    assert entries is not None
    return [(entry["key"], entry["result"]) for entry in entries]


@pytest.mark.parametrize("count", [1, 2, len(RECORDS)])
def test_both_write_the_same_bytes(tmp_path: Path, count: int) -> None:
    mine, theirs = tmp_path / "mine" / "out.h5", tmp_path / "theirs" / "out.h5"
    theirs.parent.mkdir()
    for written in range(1, count + 1):
        save_progress(theirs, as_mime_has_them(RECORDS[:written]))
        write_mime_progress(progress_path(mine), RECORDS[:written])
    for path in (progress_path, lambda out: manifest_path(progress_path(out))):
        assert path(mine).read_bytes() == path(theirs).read_bytes()


def test_mime_engine_verifies_and_reads_what_is_written_here(tmp_path: Path) -> None:
    progress = tmp_path / "from" / "out.h5.progress.json"
    write_mime_progress(progress, RECORDS[:5])
    assert fetch_resume(str(progress), tmp_path / "into" / "out.h5") == as_mime_has_them(RECORDS[:5])
    assert manifest_path(progress_path(tmp_path / "into" / "out.h5")).exists()
    sweep = MimeSweep(ITEMS, label_of, tmp_path / "again" / "out.h5", resume_from=progress.as_uri())
    assert sweep.completed == [result for _, result in RECORDS[:5]]
    assert sweep.pending == ITEMS[5:]


def test_what_mime_engine_records_is_read_here(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    sweep = MimeSweep(ITEMS, label_of, out, snapshot_dir=tmp_path / "snapshots")
    for item in ITEMS[:4]:
        sweep.record(item, result_of(item))
    # What has a form in JSON only by mime-engine's own rules.
    sweep.record(ITEMS[4], {"mean": np.float32(0.1), "field": np.arange(1), "where": tmp_path})
    for source in (progress_path(out), tmp_path / "snapshots" / progress_path(out).name):
        found = fetched(source, tmp_path / "into")
        assert found is not None
        assert found.damage is None
        assert records_in(found.path) == [(record["key"], record["result"]) for record in load_progress(out)]
        assert len(records_in(found.path)) == 5


def test_mime_engine_refuses_what_is_refused_here(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    save_progress(out, as_mime_has_them(RECORDS))
    progress = progress_path(out)
    progress.write_bytes(progress.read_bytes().replace(b"kappa-3", b"kappa-4"))
    with pytest.raises(CheckpointIntegrityError):
        fetch_resume(str(progress), tmp_path / "into.h5")
    assert damage_of(progress) == "out.h5.progress.json is not what its manifest says"


def test_mime_engine_goes_on_where_this_library_has_left_older_states(tmp_path: Path) -> None:
    progress = progress_path(tmp_path / "out.h5")
    write_mime_progress(progress, RECORDS[:2])
    write_mime_progress(progress, RECORDS[:3])
    sweep = MimeSweep(ITEMS, label_of, tmp_path / "out.h5")
    for item in sweep.pending:
        sweep.record(item, result_of(item))
    assert damage_of(progress) is None
    assert records_in(progress) == RECORDS
    # Where what mime-engine wrote is damaged, there is still what was written here.
    progress.write_bytes(progress.read_bytes()[:-9])
    found = fetched(progress, tmp_path / "into", pause=lambda _: None)
    assert found is not None
    assert found.damage is not None
    assert found.older == previous_path(progress)
    assert records_in(found.older) == RECORDS[:2]
