from __future__ import annotations

from pathlib import Path

import pytest

from resumable_sweep import CheckpointFellBack, DriftWarning, ResumableSweep


def test_a_warning_points_at_the_programs_own_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResumableSweep([1, 2], checkpoint_path=path, config={"lr": 1}) as sweep:
        sweep.record(1, 1)
    with (
        pytest.warns(DriftWarning) as drifted,
        ResumableSweep([1, 2], checkpoint_path=path, config={"lr": 2}, allow_drift=True),
    ):
        pass
    path.write_bytes(path.read_bytes().replace(b'"result":1', b'"result":3'))
    with pytest.warns(CheckpointFellBack) as fell_back, ResumableSweep([1, 2], checkpoint_path=path):
        pass
    assert {warning.filename for warning in (*drifted, *fell_back)} == {__file__}
