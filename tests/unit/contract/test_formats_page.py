"""What docs/reference/formats.md says, held against the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.items import items_of_list, lines_of, parsed_items
from resumable_sweep.contract.log_format import completion_of, entries_of, is_sweep_log
from resumable_sweep.contract.manifest import parsed_manifest
from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Report

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "formats.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}")[1].split("\n## ")[0]


def example(title: str) -> str:
    return "".join(line[4:] + "\n" for line in section(title).splitlines() if line.startswith("    "))


def first_cells(title: str) -> list[str]:
    """The names in the first column of a section's table, a cell with several of them taken apart."""
    cells = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("|")]
    return [name for cell in cells[2:] for name in re.findall(r"`(\w+)`", cell)]


def test_the_items_are_read_and_written_like_that() -> None:
    items = parsed_items(example("Items"))
    assert "".join(lines_of(items)) == example("Items")
    assert items_of_list([item.value for item in items]) == items


def test_the_log_is_read_like_that_and_its_digest_is_right() -> None:
    data = example("The log of results").encode()
    assert is_sweep_log(data.partition(b"\n")[0])
    entries = list(entries_of(data))
    completion = completion_of(entries)
    assert completion is not None
    keys = [entry["key"] for entry in entries if entry["kind"] == "done"]
    assert (completion["total"], completion["keys_sha256"]) == (len(keys), sha256_of_keys(keys))


def test_the_manifest_is_written_like_that() -> None:
    assert parsed_manifest(example("The manifest")).to_json() == example("The manifest")


def test_the_digest_of_keys_is_the_one_shown() -> None:
    assert sha256_of_keys(["a", "b"]) in section("Canonical JSON and keys")


def test_the_table_has_every_field_of_a_report() -> None:
    assert first_cells("Reports of a sidecar") == [field.name for field in fields(Report)]


@pytest.mark.parametrize("code", Exit, ids=lambda code: code.name)
def test_the_table_has_every_exit_code(code: Exit) -> None:
    assert f"\n| {code.value} | {code.name} | " in section("Outcomes")
