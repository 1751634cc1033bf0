"""The types of an export's columns, the same wherever results are exported from."""

from __future__ import annotations

from typing import Any

_INT64 = range(-(1 << 63), 1 << 63)


def type_of(value: Any) -> str:
    """Return the type of a column that holds just `value`: null, bool, int, float, text or json."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _INT64 else "json"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


def joined_type(one: str, other: str) -> str:
    """Return the type of a column that holds values of both types; where they do not go together, all are JSON."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float" if {one, other} == {"int", "float"} else "json"
