"""What the command prints: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_CELL_CHARACTERS = 100
_UNITS = ("B", "kB", "MB", "GB", "TB")


def print_json(value: Any) -> None:
    """Print `value` as JSON, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print `value` as JSON on one line."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under the names of their columns; None is a dash, numbers stand on the right."""
    rows = [tuple(row) for row in rows]
    texts = [[cell_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    numeric = [
        bool(rows) and all(row[place] is None or isinstance(row[place], int | float) for row in rows)
        for place in range(len(columns))
    ]
    for texts_of_row in [list(columns), *texts]:
        cells = (
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(texts_of_row, widths, numeric, strict=True)
        )
        print("  ".join(cells).rstrip())


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values, a line each; what is None is left out."""
    shown = {name: value for name, value in fields.items() if value is not None}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        print(f"{name.ljust(width)}  {cell_text(value, limit=None)}")


def tell(text: str) -> None:
    """Say something about the command's work on standard error."""
    print(f"resumable-sweep: {text}", file=sys.stderr)


def cell_text(cell: Any, *, limit: int | None = _CELL_CHARACTERS) -> str:
    """Return what stands in a table for `cell`: one line without control characters."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.6g}"
    text = "".join(letter if letter.isprintable() else " " for letter in str(cell))
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def time_text(at: Any) -> str | None:
    """Return Unix seconds as a date and time of UTC, None where `at` is none."""
    if isinstance(at, bool) or not isinstance(at, int | float):
        return None
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def size_text(size_bytes: int) -> str:
    """Return a number of bytes in the largest unit (of 1000) that leaves one before the point."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
