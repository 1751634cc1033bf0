"""docs/reference/library.md has every name, parameter and default that the package has, and none besides."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import resumable_sweep
from resumable_sweep import Stats

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "library.md").read_text()
WITH_PARAMETERS = (
    "ResumableSweep",
    "run",
    "run_id_of",
    "SeedSequence",
    "save_state",
    "load_state",
    "Checkpointer",
    "PreemptGuard",
)
WITH_MEMBERS = ("ResumableSweep", "SeedSequence", "Stats", "Loaded", "Checkpointer", "PreemptGuard")
SET_ON_MAKING = {"Checkpointer": {"save_seconds"}, "SeedSequence": {"entropy", "spawn_key", "n_children_spawned"}}
"""Public attributes that an object has and its class has not."""


def part(name: str) -> str:
    """What stands under the heading of `name`, up to the next one of the same rank or a higher one."""
    heading = re.search(rf"^(#+) `{name}`.*$", PAGE, re.MULTILINE)
    assert heading is not None, f"{name} has no heading"
    rest = PAGE[heading.end() :]
    return re.split(rf"^#{{2,{len(heading[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first column is called `head`, in `text`."""
    found = text.split(f"\n| {head} | ", 1)
    assert len(found) == 2, f"there is no table of {head}s"
    lines = [line for line in found[1].split("\n\n", 1)[0].splitlines()[2:] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)[^`]*`", cell)


def members(name: str) -> dict[str, Any]:
    of_class = vars(getattr(resumable_sweep, name)).items()
    found = {member: value for member, value in of_class if not member.startswith("_")}
    if dataclasses.is_dataclass(getattr(resumable_sweep, name)):
        found |= {field.name: None for field in dataclasses.fields(getattr(resumable_sweep, name))}
    return found | dict.fromkeys(SET_ON_MAKING.get(name, ()))


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_every_parameter_has_its_row_and_default(name: str) -> None:
    parameters = inspect.signature(getattr(resumable_sweep, name)).parameters.values()
    rows = table(part(name), "parameter")
    assert [named(row[0])[0] for row in rows] == [parameter.name for parameter in parameters]
    for row, parameter in zip(rows, parameters, strict=True):
        if isinstance(parameter.default, bool | int | float | str | tuple):
            assert row[2].replace('"', "'") == f"`{parameter.default!r}`", parameter.name
        else:
            assert re.fullmatch(r"`[\d.]+`|`True`|`False`", row[2]) is None, parameter.name


@pytest.mark.parametrize("name", WITH_MEMBERS)
def test_every_member_has_its_row(name: str) -> None:
    rows = table(part(name if name != "Loaded" else "load_state"), "name")
    assert sorted(member for row in rows for member in named(row[0])) == sorted(members(name))


@pytest.mark.parametrize("name", WITH_MEMBERS)
def test_every_method_is_shown_with_its_parameters(name: str) -> None:
    for row in table(part(name if name != "Loaded" else "load_state"), "name"):
        for shown in re.findall(r"`(\w+\(.*?\))`", row[0]):
            member, _, listed = shown[:-1].partition("(")
            there = list(inspect.signature(members(name)[member]).parameters.values())[1:]
            assert [text.partition("=")[0] for text in listed.split(", ") if text] == [one.name for one in there]
            shown_defaults = [text.partition("=")[2] for text in listed.split(", ") if "=" in text]
            defaults = [repr(one.default) for one in there if one.default is not one.empty]
            assert [text.replace('"', "'") for text in shown_defaults] == defaults, shown


def test_every_error_and_warning_has_its_row_and_base() -> None:
    rows = table(PAGE, "error") + table(PAGE, "warning")
    listed = {named(row[0])[0]: named(row[1]) for row in rows if row[1]}
    everything = {name: getattr(resumable_sweep, name) for name in resumable_sweep.__all__}
    there = {
        name: [one.__bases__[0].__name__]
        for name, one in everything.items()
        if isinstance(one, type) and issubclass(one, BaseException)
    }
    assert listed == there


def test_everything_that_the_package_shows_is_on_the_page() -> None:
    assert [name for name in resumable_sweep.__all__ if f"`{name}" not in PAGE] == []


def test_the_statistics_are_written_with_the_names_of_the_page() -> None:
    numbers = dict.fromkeys((field.name for field in dataclasses.fields(Stats)), 0)
    written = re.findall(r'"(\w+)":', Stats(**numbers).to_json())
    rows = table(part("Stats"), "name")
    assert [name for row in rows for name in named(row[0])] == [*written, "to_json"]
