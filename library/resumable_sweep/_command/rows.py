"""Results as rows of a table: mappings become columns with dotted names."""

from __future__ import annotations

import base64
import datetime
import importlib
from collections.abc import Iterator
from typing import Any

from resumable_sweep._arrays import is_array
from resumable_sweep._config import place_of
from resumable_sweep._plain_json import RESERVED
from resumable_sweep.contract.canonical import canonical_json

_ROWS_AT_ONCE = 10_000


def plain(value: Any) -> Any:
    """Return a result in the form of JSON: arrays as lists, bytes in base64, complex numbers as pairs."""
    if is_array(value):
        return plain(value.tolist())
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, datetime.date | datetime.timedelta):
        return str(value)
    return value


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line with its mappings flattened: `{"result": {"a": {"b": 1}}}` becomes `{"result.a.b": 1}`.

    A key that is text stands as it is, any other as JSON. Lists, empty mappings and what stands for a side file are
    not taken apart.
    """
    cells: dict[str, Any] = {}
    for name, value in line.items():
        if name == "key":
            cells[name] = value if isinstance(value, str) else canonical_json(value)
        else:
            _flatten(name, value, cells)
    return cells


def cell_of(value: Any) -> str:
    """Return what stands in a cell of a CSV file: text as it is, nothing for null, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical_json(value)


def write_parquet(path: str, columns: dict[str, str], rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as a Parquet file; `columns` maps names to the types that `type_of` and `joined_type` gave.

    Raises
    ------
    ImportError
        Where pyarrow is not installed.
    """
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    types = {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "text": arrow.string(),
        "json": arrow.string(),
        "null": arrow.string(),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        held: list[dict[str, Any]] = []
        for row in rows:
            held.append({name: _as_type(kind, row.get(name)) for name, kind in columns.items()})
            if len(held) == _ROWS_AT_ONCE:
                writer.write_table(arrow.Table.from_pylist(held, schema=schema))
                held = []
        writer.write_table(arrow.Table.from_pylist(held, schema=schema))


def _as_type(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "float":
        return float(value)
    text = canonical_json(value) if kind == "json" else value
    # Half of a surrogate pair, as an error's text may hold it, has no form in UTF-8.
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


def _flatten(name: str, value: Any, cells: dict[str, Any]) -> None:
    if isinstance(value, dict) and value and not any(part.startswith(RESERVED) for part in value):
        for part, inner in value.items():
            _flatten(place_of(name, part), inner, cells)
    else:
        cells[name] = value
