"""Make the references of the metrics and of the alerts.

python docs/generate.py [--check]

The metrics are those that operator and sidecar declare, the alerts those of the chart.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweep_operator.api.generated import run_generator
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.exposition import SWEEPS_SHOWN
from sweep_sidecar.mirror import metrics as mirror

METRICS = "docs/reference/metrics.md"
ALERTS = "docs/reference/alerts.md"
RULES = Path(__file__).resolve().parents[1] / "charts" / "resumable-sweep" / "files" / "alerts.yaml"
TO_DO = " To do: "
"""Parts, in an alert's description, what it means from what to do."""

_HEAD = "<!-- Made by `python docs/generate.py`: do not edit. -->\n"
_UNITS = {"seconds": "seconds", "bytes": "bytes", "ratio": "share, 0 to 1"}

_METRICS_INTRODUCTION = f"""\
{_HEAD}
# Metrics

In Prometheus' text format. Times are in seconds, sizes in bytes; a counter begins at 0 with its process. Of a
histogram there are series with `_bucket`, `_sum` and `_count` at the end of the name. How to have them scraped, and
which to look at first: [watch the operator](../tasks/watch-the-operator.md).
"""

_OPERATOR = f"""\
## Operator

Served at `/metrics` on the operator's port. Where several operators stand in for each other, the one that decides tells
of sweeps, shards and attempts, so that a sum over all of them is right.

Series with `sweep_namespace` and `sweep` are there for the oldest {SWEEPS_SHOWN} sweeps that are unfinished; how many
have none is in `resumable_sweep_sweeps_left_out`. No other label's values grow with the number of sweeps.

Besides these there are the figures of its process: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_open_fds` and the like.
"""

_MIRROR = """\
## Mirror

Served at `/metrics` on TCP port 9810 of each attempt's pod, by its container `sweep-mirror`: one shard, seen from its
node.
"""

_ALERTS_INTRODUCTION = f"""\
{_HEAD}
# Alerts

The rules that come with [the chart](../../charts/resumable-sweep/README.md), in
[alerts.yaml](../../charts/resumable-sweep/files/alerts.yaml). How to turn them on:
[watch the operator](../tasks/watch-the-operator.md#alerts). What they are made of is in [metrics](metrics.md).
"""


class Row(NamedTuple):
    """One metric as the page shows it."""

    name: str
    kind: str
    labels: Mapping[str, tuple[str, ...] | str]
    meaning: str


def metrics_page() -> str:
    """Return the page on the metrics."""
    operator = [Row(family.name, family.kind, family.labels, family.meaning) for family in Metrics().families]
    of_mirror = [Row(mirror.PREFIX + each.name, each.kind, each.labels, each.meaning) for each in mirror.FAMILIES]
    return "\n".join([_METRICS_INTRODUCTION, _OPERATOR, _table(operator), _MIRROR, _table(of_mirror)])


def _table(rows: Iterable[Row]) -> str:
    return "\n".join(
        ["| metric | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |", *map(_row, rows), ""]
    )


def _row(row: Row) -> str:
    labels = "; ".join(f"`{name}`: {_values(values)}" for name, values in row.labels.items())
    unit = _UNITS.get(row.name.removesuffix("_total").rpartition("_")[2], "")
    return f"| `{row.name}` | {row.kind} | {unit} | {labels} | {_sentence(row.meaning)} |"


def _values(values: tuple[str, ...] | str) -> str:
    return values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)


def _sentence(text: str) -> str:
    """Return a text as a cell of a table: without the capital and the full stop of a single sentence."""
    text = text.replace("|", "\\|")
    return text[0].lower() + text[1:-1] if text.endswith(".") and ". " not in text else text


def alerts_page(rules: Mapping[str, Any]) -> str:
    """Return the page on the alerts of a file of rules."""
    return "\n".join([_ALERTS_INTRODUCTION, *(part for group in rules["groups"] for part in _group(group))])


def _group(group: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {group['name'].removeprefix('resumable-sweep-').capitalize()}\n"
    for rule in group["rules"]:
        annotations = rule["annotations"]
        meaning, _, mend = annotations["description"].strip().partition(TO_DO)
        wait = f" for {rule['for']}" if "for" in rule else ""
        yield f"### {rule['alert']}\n"
        yield f"{annotations['summary'].strip()} ({rule['labels']['severity']})\n"
        yield f"{meaning}\n"
        yield f"To do: {mend}\n"
        yield f"It fires if this holds{wait}:\n\n```promql\n{rule['expr'].strip()}\n```\n"


def generated_files() -> dict[str, str]:
    """Return both pages: path in the repository, content."""
    return {METRICS: metrics_page(), ALERTS: alerts_page(yaml.safe_load(RULES.read_text()))}


if __name__ == "__main__":
    sys.exit(run_generator(generated_files(), description="Generate the references of metrics and alerts."))
