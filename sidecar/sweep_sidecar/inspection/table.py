"""What the command prints: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_CELL_CHARACTERS = 120
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def print_json(value: Any) -> None:
    """Print `value` as JSON, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under the names of their columns; None is a dash, numbers stand on the right."""
    rows = [tuple(row) for row in rows]
    texts = [[_cell_text(cell) for cell in row] for row in rows]
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


def tell(text: str) -> None:
    """Say something about the command's work on standard error."""
    print(f"resumable-sweep: {text}", file=sys.stderr)


def time_text(at: float) -> str:
    """Return Unix seconds as a date and time of UTC; a writer's clock may have said anything."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"


def age_text(seconds: float) -> str:
    """Return a span of time in its two largest units, of seconds to days."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return "".join(f"{number}{unit}" for number, unit in parts[:2])


def size_text(size_bytes: int) -> str:
    """Return a number of bytes in the largest unit (of 1000) that leaves one before the point."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _cell_text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    text = "".join(letter if letter.isprintable() else " " for letter in str(cell))
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"
