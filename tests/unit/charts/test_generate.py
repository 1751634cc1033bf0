from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("chart_generate", REPOSITORY / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


VALUES = """\
# A heading that describes nothing.

# -- What it is called,
# on two lines.
name: ""
# Not part of it.
# -- How many there are.
# @schema {"minimum": 1}
count: 3
inner:
  # -- Whether it is on.
  on: true
# -- Any labels.
# @schema {"additionalProperties": {"type": "string"}}
labels: {a: b}
# -- Some names.
# @schema {"items": {"type": "string"}}
names: []
"""


def test_the_schema_is_closed_and_typed_by_the_defaults(generate: ModuleType) -> None:
    schema = generate.values_schema(generate.parsed_values(VALUES))
    assert schema["additionalProperties"] is False
    properties: dict[str, Any] = schema["properties"]
    assert properties.pop("global") == {"type": "object"}
    assert properties == {
        "name": {"description": "What it is called, on two lines.", "type": "string", "default": ""},
        "count": {"description": "How many there are.", "type": "integer", "default": 3, "minimum": 1},
        "inner": {
            "type": "object",
            "properties": {"on": {"description": "Whether it is on.", "type": "boolean", "default": True}},
            "additionalProperties": False,
        },
        "labels": {
            "description": "Any labels.",
            "type": "object",
            "default": {"a": "b"},
            "additionalProperties": {"type": "string"},
        },
        "names": {"description": "Some names.", "type": "array", "default": [], "items": {"type": "string"}},
    }


def test_the_readme_has_a_row_for_each_value(generate: ModuleType) -> None:
    rows = [line for line in generate.readme(generate.parsed_values(VALUES)).splitlines() if line.startswith("| `")]
    assert rows == [
        '| `name` | `""` | What it is called, on two lines. |',
        "| `count` | `3` | How many there are. |",
        "| `inner.on` | `true` | Whether it is on. |",
        '| `labels` | `{"a": "b"}` | Any labels. |',
        "| `names` | `[]` | Some names. |",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\n", "a has no description: write one above it, after `# --`"),
        ("a:\n  b: 1\n", "a.b has no description"),
        ("# -- A.\na: {}\n", "a is empty: say in `# @schema` which additionalProperties it has"),
        ("# -- A.\na: []\n", "a is a list: say in `# @schema` which items it has"),
        ("# -- A.\n# @schema {\na: 1\n", "a: what follows @schema is not JSON"),
        ("- 1\n", "values.yaml is not a mapping"),
    ],
)
def test_what_is_missing_is_said(generate: ModuleType, text: str, words: str) -> None:
    with pytest.raises(generate.ValuesUnclear) as caught:
        generate.parsed_values(text)
    assert words in str(caught.value)


def test_the_files_in_the_repository_are_up_to_date(generate: ModuleType) -> None:
    for name, content in generate.generated_files().items():
        assert (REPOSITORY / name).read_text() == content, f"{name}: run `python charts/generate.py`"


def test_the_definition_in_the_chart_is_the_one_in_crds(generate: ModuleType) -> None:
    (copy,) = (name for name in generate.generated_files() if "/files/" in name)
    assert (REPOSITORY / copy).read_text() == (REPOSITORY / "crds" / Path(copy).name).read_text()


def test_the_schema_takes_what_values_yaml_says(generate: ModuleType) -> None:
    schema = json.loads((REPOSITORY / "charts/resumable-sweep/values.schema.json").read_text())
    fields = schema["properties"]["operator"]["properties"]
    assert fields["logLevel"] == {
        "description": "How much the operator logs.",
        "type": "string",
        "default": "info",
        "enum": ["debug", "info", "warning", "error"],
    }
