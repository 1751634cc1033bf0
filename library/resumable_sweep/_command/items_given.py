"""Items as they are given on the command line: a file of them, or the values of parameters to combine."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._items import check_distinct
from resumable_sweep.contract.canonical import canonical_json, identity
from resumable_sweep.contract.items import Item, ItemsInvalid, items_of_list, items_of_matrix

_RANGE = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)")
_KEYED = {"key", "item"}
_MOST_OF_A_RANGE = 10_000_000


def items_in(path: Path) -> list[Item]:
    """Return the items in a file, by its suffix.

    `.jsonl`: one a line, either the item itself or, on every line, `{"key", "item"}`. `.json`: a list of items. `.csv`:
    a mapping for each row under the first one's names; cells that are JSON numbers, true or false are taken as such,
    all others as text.

    Raises
    ------
    CommandError
        Where there is no such file, or it is of another kind.
    ItemsInvalid
        Where it is not what its suffix says, or two items have the same key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CommandError(Ending.NO_INPUT, f"--items {path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ItemsInvalid(f"--items {path} is not UTF-8: {error.reason} at byte {error.start}") from None
    readers: dict[str, Callable[[str], list[Any]]] = {".jsonl": _of_lines, ".json": _of_json, ".csv": _of_csv}
    reader = readers.get(path.suffix)
    if reader is None:
        raise CommandError(Ending.USAGE, f"--items {path} must be a file of {', '.join(readers)}")
    try:
        values = reader(text)
        if path.suffix == ".jsonl" and values and all(_is_keyed(value) for value in values):
            items = [Item(key=value["key"], value=value["item"]) for value in values]
            check_distinct([identity(item.key) for item in items], what="key")
            # What a program records is known by its value: equal ones under two keys could not be told apart.
            check_distinct([canonical_json(item.value) for item in items], what="value")
            return items
        return items_of_list(values)
    except ItemsInvalid as error:
        raise ItemsInvalid(f"--items {path}: {error}") from error


def items_of_text(text: str) -> list[Item]:
    """Return one item for each combination of `name=value,value;name=first..last`, a range with both of its ends.

    Values that are JSON numbers, true, false or null are taken as such, all others as text. Parameters are taken in
    alphabetical order, the last varies fastest.

    Raises
    ------
    CommandError
        Where it is not of that form.
    """
    matrix: dict[str, list[Any]] = {}
    for part in text.split(";"):
        name, separator, values = part.partition("=")
        name = name.strip()
        if not separator or not name or not values.strip():
            raise CommandError(
                Ending.USAGE, f"--matrix {text!r}: {part!r} must be NAME=VALUE,... or NAME=FIRST..LAST, apart by ;"
            )
        if name in matrix:
            raise CommandError(Ending.USAGE, f"--matrix {text!r} has {name} twice: give each parameter its values once")
        matrix[name] = [value for one in values.split(",") for value in _values_of(one.strip(), text)]
    return items_of_matrix(matrix)


def key_function(items: list[Item]) -> Callable[[Any], Any] | None:
    """Return the function from these items' values to their keys, None where those are the default ones."""
    if items == items_of_list([item.value for item in items]):
        return None
    keys = {canonical_json(item.value): item.key for item in items}
    return lambda value: keys[canonical_json(value)]


def scalar_of(text: str) -> Any:
    """Return the number or truth value that `text` is as JSON, else the text."""
    try:
        found = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | float) else text


def _values_of(text: str, whole: str) -> list[Any]:
    found = _RANGE.fullmatch(text)
    if found is None:
        return [None if text == "null" else scalar_of(text)]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST_OF_A_RANGE:
        raise CommandError(
            Ending.USAGE, f"--matrix {whole!r}: the range {text} must go up, over {_MOST_OF_A_RANGE} values at most"
        )
    return list(range(first, last + 1))


def _is_keyed(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == _KEYED


def _of_lines(text: str) -> list[Any]:
    values = []
    # Only "\n" ends a line: str.splitlines would also cut at U+2028, which JSON strings may hold unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except ValueError as error:
                raise ItemsInvalid(f"line {number} is not JSON ({error}): {line[:80]!r}") from error
    return values


def _of_json(text: str) -> list[Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ItemsInvalid(f"it is not JSON: {error}") from error
    if not isinstance(values, list):
        raise ItemsInvalid(f"it must hold a list of items, not {text.strip()[:40]!r}")
    return values


def _of_csv(text: str) -> list[Any]:
    # As for lines of JSON: str.splitlines would make two rows of one whose text holds U+2028 or a form feed.
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    values = []
    try:
        for row in rows:
            if None in row or None in row.values():
                raise ItemsInvalid(f"line {rows.line_num} has not as many cells as the first line has names")
            values.append({name: scalar_of(cell) for name, cell in row.items()})
    except csv.Error as error:
        raise ItemsInvalid(f"line {rows.line_num}: {error}") from error
    return values
