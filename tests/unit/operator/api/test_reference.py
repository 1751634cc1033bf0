from __future__ import annotations

from sweep_operator.api.crd import root_schema
from sweep_operator.api.reference import reference


def test_every_field_of_spec_and_status_has_its_row() -> None:
    lines = reference().splitlines()
    for part in ("spec", "status"):
        start = lines.index(f"## {part}")
        end = next(number for number, line in enumerate(lines) if number > start and line.startswith("## "))
        rows = [
            line.split(" | ")[0].strip("| *`") for line in lines[start:end] if line.startswith("| `") or "**`" in line
        ]
        assert rows == list(root_schema()["properties"][part]["properties"])


def test_a_row_says_all_that_is_checked() -> None:
    lines = reference().splitlines()
    shards = next(line for line in lines if line.startswith("| **`shards`**"))
    assert shards.startswith("| **`shards`** | integer |  | Over how many pods")
    assert shards.endswith("Cannot change. 1 to 10,000. |")
    interval = next(line for line in lines if line.startswith("| `interval`"))
    assert '| string | `"10s"` |' in interval
    assert interval.endswith(r"(ms\|s\|m\|h))+$`. `interval` must lie between 1s and 1h. |")
    assert any(line.startswith("| `list` | list of any JSON |") for line in lines)
    assert any(line.startswith("| `matrix` | map of list of any JSON |") for line in lines)


def test_rules_that_span_fields_stand_below_them() -> None:
    page = reference()
    assert "Rules of spec.items:\n\n- `items` needs exactly one of list, matrix and configMapKeyRef.\n" in page
    assert "Rules of metadata:\n\n- `metadata.name` may have 40 characters at most" in page
