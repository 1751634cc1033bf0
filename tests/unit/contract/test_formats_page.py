"""What docs/reference/formats.md says, held against the code."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import numpy
import pytest

from resumable_sweep import CheckpointFellBack, ResumableSweep
from resumable_sweep._drift import items_sha256
from resumable_sweep._preserved import parsed_preserved
from resumable_sweep._side_files import SUFFIXES, SideFiles
from resumable_sweep._values import INLINE_BYTES, RECORD_BYTES, decoded_value, encoded_value
from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.items import items_of_list, lines_of, parsed_items
from resumable_sweep.contract.log_format import (
    checked_line,
    completion_of,
    entries_of,
    has_check,
    is_sweep_log,
    line_of,
    results_of,
)
from resumable_sweep.contract.manifest import parsed_manifest, sha256_of_files, unreadable
from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Report

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "formats.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}")[1].split("\n## ")[0]


def example(title: str, *, after: str = "", until: str = "\0") -> str:
    """The indented lines of a section, or of what stands in it between two texts."""
    text = section(title).partition(after)[2] if after else section(title)
    return "".join(line[4:] + "\n" for line in text.partition(until)[0].splitlines() if line.startswith("    "))


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of a text's tables, without the first table's head."""
    return [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")][2:]


def first_cells(title: str) -> list[str]:
    """The names in the first column of a section's table, a cell with several of them taken apart."""
    return [name for cells in rows(section(title)) for name in re.findall(r"`(\w+)`", cells[0])]


def log_of_every_kind(path: Path) -> bytes:
    """Run sweeps on `path` until its log has had entries of every kind; return all that it held."""

    def sweep_of(*items: str, unsized: bool = False) -> ResumableSweep:
        given = iter(items) if unsized else items
        return ResumableSweep(given, checkpoint_path=path, script=False, random_state=True, on_error="ignore")

    with sweep_of("a", "b", "c") as sweep:
        next(sweep.pending)
        sweep.record("a", numpy.zeros(10_000))
        sweep.fail("b", "no root")
        sweep.skip("c", "outside of the model")
    with sweep_of("a", "b", "c") as sweep:
        sweep.record("b", 1)
    with sweep_of("a", "b", "c", "d", unsized=True):
        pass
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"no root"', b'"no ruut"'))
    with pytest.warns(CheckpointFellBack), sweep_of("a", "b", "c", "d"):
        pass
    return before + path.read_bytes()


def test_the_items_are_read_and_written_like_that() -> None:
    items = parsed_items(example("Items"))
    assert "".join(lines_of(items)) == example("Items")
    assert items_of_list([item.value for item in items]) == items


def test_the_log_is_written_and_read_like_that() -> None:
    data = example("The log of results", until="### The check").encode()
    assert is_sweep_log(data.partition(b"\n")[0])
    entries = list(entries_of(data))
    assert b"".join(line_of(entry) for entry in entries) == data
    completion = completion_of(entries)
    assert completion is not None
    skipped = [entry["key"] for entry in entries if entry["kind"] == "skipped"]
    keys = [*(entry["key"] for entry in results_of(entries).values()), *skipped]
    assert completion["keys_sha256"] == sha256_of_keys(keys) == items_sha256(['"a"', '"b"', '"c"'])
    assert (completion["total"], completion["skipped"]) == (len(keys), len(skipped))


def test_the_table_has_every_field_that_the_library_writes(tmp_path: Path) -> None:
    data = log_of_every_kind(tmp_path / "results.jsonl")
    written = {entry["kind"]: set(entry) - {"kind"} for entry in entries_of(data)}
    listed: dict[str, set[str]] = {}
    for cells in rows(section("The log of results").split("\n### ")[0]):
        kind = re.findall(r"`(\w+)`", cells[0])
        listed.setdefault(kind[0] if kind else list(listed)[-1], set()).update(re.findall(r"`(\w+)`", cells[1]))
    assert listed == written


def test_the_check_of_a_line_is_computed_like_that() -> None:
    (command, shown) = example("The log of results", after="### The check", until="### What").splitlines()
    found = re.search(r"printf '(.*?)'", command)
    assert found is not None
    assert checked_line(found[1].encode()) == f'{found[1]},"crc32":"{shown}"}}\n'.encode()
    assert shown in example("The log of results", until="### The check")


def test_version_1_is_read_and_gone_on_with_like_that(tmp_path: Path) -> None:
    text = example("The log of results", after="### Version 1")
    entries = list(entries_of(text.encode()))
    completion = completion_of(entries)
    assert completion is not None
    assert completion["keys_sha256"] == sha256_of_keys(["a"])
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with ResumableSweep([{"key": "a"}], checkpoint_path=path, shard=(0, 6), script=False) as sweep:
        assert sweep.completed == [{"score": 0.9}]
    lines = path.read_text().splitlines()
    assert lines[:3] == text.splitlines()
    assert json.loads(lines[3]).items() >= {"kind": "header", "schema_version": 2, "run_id": "3f0c"}.items()
    assert all(has_check(line.encode()) for line in lines[3:])


def test_values_stand_in_a_result_like_that(tmp_path: Path) -> None:
    shown = json.loads(example("Values and side files"))
    files = SideFiles(tmp_path / "results.jsonl")
    value = decoded_value(shown, fetch=files.fetch)
    assert (value["loss"].tolist(), value["picture"]) == ([[1.0, 2.0]], b"\x89PNG")
    assert encoded_value(value, keep=files.keep) == shown
    assert f"{INLINE_BYTES} bytes" in section("Values and side files")
    assert f"{RECORD_BYTES} bytes" in section("Values and side files")


def test_the_table_has_every_kind_of_side_file(tmp_path: Path) -> None:
    table = section("Values and side files").partition("| `kind` ")[2]
    listed = {cells[0].strip(): cells[1].strip() for cells in rows(f"|{table}")}
    assert listed == {f"`{kind}`": f"`<sha256>{suffix}`" for kind, suffix in SUFFIXES.items()}
    fields = SideFiles(tmp_path / "log").keep(b"", "bytes").tag()["$sweep.file"]
    (shown,) = re.findall(r'\{"\$sweep\.file": \{(.*?)\}\}', section("Values and side files"))
    assert re.findall(r'"(\w+)":', shown) == list(fields)


def test_the_table_has_every_file_that_lies_beside_a_log(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    log_of_every_kind(log)
    listed = re.findall(r"^\| `(.*?)`", section("Files beside the log"), re.MULTILINE)
    patterns = [
        name.replace("<log>", log.name).replace("-N", "-*").replace("<name>.tmp.<process id>", "*.tmp.*").rstrip("/")
        for name in listed
    ]
    there = {path.name for path in tmp_path.iterdir()} - {log.name}
    assert {name for name in there if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert len(there) >= 6


def test_what_results_are_made_from_is_written_like_that() -> None:
    text = example("Files beside the log")
    preserved = parsed_preserved(text.encode())
    assert (preserved.config, preserved.items_total) == ({"depth": 4}, 3)
    assert preserved.to_json() == text


def test_manifests_are_written_like_that() -> None:
    of_file, of_directory = (f"{part}\n}}\n" for part in example("The manifest").split("\n}\n") if part)
    assert parsed_manifest(of_file).to_json() == of_file
    manifest = parsed_manifest(of_directory)
    assert manifest.to_json() == of_directory
    assert manifest.files is not None
    assert sha256_of_files(manifest.files) == manifest.sha256
    assert unreadable(manifest) is None


def test_the_digest_of_keys_is_the_one_shown() -> None:
    assert sha256_of_keys(["a", "b"]) in section("Canonical JSON and keys")


def test_the_table_has_every_field_of_a_report() -> None:
    assert first_cells("Reports of a sidecar") == [field.name for field in fields(Report)]


@pytest.mark.parametrize("code", Exit, ids=lambda code: code.name)
def test_the_table_has_every_exit_code(code: Exit) -> None:
    assert f"\n| {code.value} | {code.name} | " in section("Outcomes")
