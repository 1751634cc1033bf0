"""docs/reference/changing-a-sweep.md names every field of `spec`, and says of each when a change takes effect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mutations.effects import AT_ONCE, NEXT_ATTEMPTS, NEXT_RETENTION, REFUSED, effects
from mutations.fields import Field, fields
from sweep_operator.api import Phase

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "changing-a-sweep.md").read_text()
WORDS_ONLY = "in words only"
WITHIN = " and all within"


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def said() -> dict[str, set[str]]:
    """What the page says of each name, with a `.` at its end where it means all within."""
    found: dict[str, set[str]] = {}
    for names, when, _ in rows("Field by field"):
        for part in names.split(", "):
            (name,) = re.findall(r"`([^`]+)`", part)
            found[name + ("." if part.endswith(WITHIN) else "")] = set(when.split(", ")) - {WORDS_ONLY}
    return found


def row_of(field: Field) -> str | None:
    """The name of the row that speaks of a field: its own, or that of the nearest field that holds it."""
    table = said()
    for end in range(len(field.path), 0, -1):
        name = str(Field(field.path[:end], {}))
        if end == len(field.path) and name in table:
            return name
        if name + "." in table:
            return name + "."
    return None


FIELDS = fields()


def has_rows_within(field: Field) -> bool:
    return any(name.startswith(f"{field}.") for name in said())


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_it_says_when_a_change_of_each_field_takes_effect(field: Field) -> None:
    row = row_of(field)
    if row is None:
        assert has_rows_within(field), f"no row names {field}"
        return
    found = effects(field)
    if field.type in ("object", "array"):
        # The ways to change a container as a whole are fewer: its fields tell the rest.
        assert found <= said()[row] | {REFUSED}
    else:
        assert found == said()[row]


def test_it_names_no_field_that_is_not_there() -> None:
    there = {str(field) for field in FIELDS}
    assert {name.rstrip(".") for name in said()} <= there


def test_it_uses_no_word_that_it_does_not_explain() -> None:
    explained = set(re.findall(r"^\| ([a-z ]+) \|", PAGE.split("\n## ")[0], re.MULTILINE)) - {"when"}
    assert explained == {REFUSED, AT_ONCE, NEXT_ATTEMPTS, NEXT_RETENTION, WORDS_ONLY}
    assert set().union(*said().values()) <= explained


def test_it_says_what_a_change_does_in_every_phase() -> None:
    named = {name for cells in rows("Phase by phase") for name in re.findall(r"`([A-Z]\w+)`", cells[0])}
    assert named == set(Phase)
