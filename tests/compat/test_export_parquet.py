from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._command.program import main

RESULTS: list[Any] = [
    {"loss": 1, "name": "a", "odd": True, "tags": [1, 2], "mixed": 1, "huge": 1 << 70, "never": None},
    {"loss": 0.5, "name": None, "odd": False, "tags": [], "mixed": "text", "deep": {"x": 7}},
]


def test_columns_have_the_types_of_their_values(tmp_path: Path) -> None:
    log, out = tmp_path / "a.jsonl", tmp_path / "a.parquet"
    with ResumableSweep(range(2), checkpoint_path=log, script=False) as sweep:
        for item in sweep.pending:
            sweep.record(item, RESULTS[item])
    assert main(["export", str(log), "--format", "parquet", "-o", str(out)]) == 0
    table = parquet.read_table(out)
    assert {name: str(kind) for name, kind in zip(table.column_names, table.schema.types, strict=True)} == {
        "key": "string",
        "result.loss": "double",
        "result.name": "string",
        "result.odd": "bool",
        "result.tags": "string",
        "result.mixed": "string",
        "result.huge": "string",
        "result.never": "string",
        "result.deep.x": "int64",
    }
    first, second = table.to_pylist()
    assert first["result.loss"] == 1.0
    assert (first["result.tags"], first["result.mixed"], second["result.mixed"]) == ("[1,2]", "1", '"text"')
    assert first["result.huge"] == str(1 << 70)
    assert (first["result.deep.x"], second["result.deep.x"]) == (None, 7)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("count", [0, 25_001])
def test_any_number_of_rows_is_written(tmp_path: Path, count: int) -> None:
    log, out = tmp_path / "a.jsonl", tmp_path / "a.parquet"
    with ResumableSweep(range(count), checkpoint_path=log, script=False, checkpoint_every=5_000) as sweep:
        for item in sweep.pending:
            sweep.record(item, {"x": item})
    assert main(["export", str(log), "--format", "parquet", "-o", str(out)]) == 0
    table = parquet.read_table(out)
    assert table.num_rows == count
    if count:
        assert table["result.x"].to_pylist() == list(range(count))
