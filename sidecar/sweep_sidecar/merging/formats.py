"""The lines of an export as JSON Lines, CSV or Parquet: read as often as needed, never held."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.columns import joined_type, type_of
from sweep_sidecar.durable import sync_folder

FORMATS = ("jsonl", "csv", "parquet")
_ROWS_AT_ONCE = 10_000
_PLAIN_NAME = re.compile(r"[\w-]+")
_RESERVED = "$sweep."
"""How the names start by which the library marks what JSON has no form for: such a mapping is one value."""

Lines = Callable[[], Iterator[bytes]]
"""Yields lines of JSON, each with its newline; every call begins anew."""


def write_export(target: Path | None, lines: Lines, *, format: str) -> None:
    """Write lines of JSON to a file (durable, all or nothing) or, None, to standard output.

    In CSV and Parquet mappings become columns with dotted names; what is no plain value stands as JSON.

    Raises
    ------
    ImportError
        Where pyarrow is needed and not installed.
    OSError
    """
    if format == "parquet":
        assert target is not None
        with _staged(target) as staged:
            _write_parquet(staged, lines)
        return
    pieces = lines() if format == "jsonl" else _csv(lines)
    if target is None:
        sys.stdout.flush()
        for piece in pieces:
            view = memoryview(piece)
            # Unbuffered (PYTHONUNBUFFERED), it may take but a part, and says so nowhere else.
            while view:
                view = view[sys.stdout.buffer.write(view) :]
        sys.stdout.buffer.flush()
        return
    with _staged(target) as staged, staged.open("wb") as file:
        file.writelines(pieces)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    staged = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield staged
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(target)
        sync_folder(target.parent)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def _csv(lines: Lines) -> Iterator[bytes]:
    columns: dict[str, None] = {"key": None}
    for row in _flat_rows(lines):
        columns.update(dict.fromkeys(row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in _flat_rows(lines):
        writer.writerow([_cell(row.get(name)) for name in columns])
        if buffer.tell() > 1 << 20:
            yield _emptied(buffer)
    yield _emptied(buffer)


def _emptied(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode("utf-8", "backslashreplace")
    buffer.seek(0)
    buffer.truncate()
    return data


def _write_parquet(staged: Path, lines: Lines) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    types = {"bool": arrow.bool_(), "int": arrow.int64(), "float": arrow.float64()}
    columns: dict[str, str] = {"key": "text"}
    for row in _flat_rows(lines):
        for name, value in row.items():
            columns[name] = joined_type(columns.get(name, "null"), type_of(value))
    schema = arrow.schema([(name, types.get(kind, arrow.string())) for name, kind in columns.items()])
    with parquet.ParquetWriter(str(staged), schema) as writer:
        held: list[dict[str, Any]] = []
        for row in _flat_rows(lines):
            held.append({name: _typed(kind, row.get(name)) for name, kind in columns.items()})
            if len(held) == _ROWS_AT_ONCE:
                writer.write_table(arrow.Table.from_pylist(held, schema=schema))
                held = []
        writer.write_table(arrow.Table.from_pylist(held, schema=schema))


def _flat_rows(lines: Lines) -> Iterable[dict[str, Any]]:
    return (_flat(json.loads(line)) for line in lines())


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in line.items():
        if name == "key":
            cells[name] = value if isinstance(value, str) else canonical_json(value)
        else:
            _flatten(name, value, cells)
    return cells


def _flatten(name: str, value: Any, cells: dict[str, Any]) -> None:
    if isinstance(value, dict) and value and not any(part.startswith(_RESERVED) for part in value):
        for part, inner in value.items():
            plain = _PLAIN_NAME.fullmatch(part)
            _flatten(f"{name}.{part}" if plain else f"{name}[{canonical_json(part)}]", inner, cells)
    else:
        cells[name] = value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical_json(value)


def _typed(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "float":
        return float(value)
    text = canonical_json(value) if kind == "json" else value
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text
