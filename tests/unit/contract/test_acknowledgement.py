from __future__ import annotations

import json
from pathlib import Path

import pytest

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    AcknowledgementNewer,
    Durable,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "formats.md").read_text()
SOME = Acknowledgement(
    attempt=3,
    generation=7,
    files={"results.jsonl": Durable(120, "ab"), "deep/é.bin": Durable(0, "cd")},
    requests=2,
    refused="ProgressWentBackwards",
    stopped="",
    message="two items are missing",
)


def without(name: str) -> str:
    fields = json.loads(SOME.to_json())
    del fields[name]
    return json.dumps(fields)


def changed(**fields: object) -> str:
    return json.dumps(json.loads(SOME.to_json()) | fields)


@pytest.mark.parametrize("said", [SOME, Acknowledgement(attempt=0, generation=None)])
def test_what_is_written_is_read(said: Acknowledgement) -> None:
    assert parsed_acknowledgement(said.to_json()) == said
    assert parsed_acknowledgement(said.to_json().encode()) == said


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert parsed_acknowledgement(changed(colour="red")) == SOME


def test_a_newer_schema_is_refused_with_the_mend() -> None:
    with pytest.raises(AcknowledgementNewer, match="schema version 2, this library knows 1 at most: install a newer"):
        parsed_acknowledgement(changed(schema_version=2))


def test_no_part_of_an_acknowledgement_is_one() -> None:
    text = SOME.to_json().rstrip("\n")
    for end in range(len(text)):
        with pytest.raises(ValueError):
            parsed_acknowledgement(text[:end])


@pytest.mark.parametrize("name", json.loads(SOME.to_json()))
def test_every_field_is_needed(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        parsed_acknowledgement(without(name))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        changed(generation=-1),
        changed(generation="1"),
        changed(requests=None),
        changed(attempt=True),
        changed(files=[]),
        changed(files={"a": {"size_bytes": 1.5, "sha256": ""}}),
        changed(files={"a": {"size_bytes": 1}}),
        changed(files={"a": 1}),
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parsed_acknowledgement(text)


def test_both_files_lie_where_nothing_is_mirrored() -> None:
    assert acknowledgement_path(Path("/s")) == Path("/s/.sweep/ack.json")
    assert requests_path(Path("/s")) == Path("/s/.sweep/flush")


def test_the_page_shows_one_and_names_every_field() -> None:
    section = PAGE.split("\n## The acknowledgement")[1].split("\n## ")[0]
    example = next(line for line in section.splitlines() if line.startswith("    {"))
    assert json.loads(parsed_acknowledgement(example).to_json()) == json.loads(example)
    described = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert described == list(json.loads(SOME.to_json()))
