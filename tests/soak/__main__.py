"""`make soak`: let a part run for long among troubles, and see that what it holds does not grow."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.__main__ import machine
from bench.table import show
from rig.progress import say
from soak import operator, sidecar
from soak.soaked import Soaked
from soak.verdict import Finding

PARTS: dict[str, Callable[..., Soaked]] = {"sidecar": sidecar.soaked, "operator": operator.soaked}
_RESULTS = Path("build/soak")
_SHORTEST_MINUTES = 2.0


def main(given: Sequence[str]) -> int:
    """Soak the parts that are named, and write down what came of them; exit status 1 where one is not flat."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument(
        "--part", action="append", choices=[*PARTS], default=[], help="which part; may be given again (default: all)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long each of them runs (default: 30)")
    options = parser.parse_args(given)
    if options.minutes < _SHORTEST_MINUTES:
        parser.error(f"--minutes is {options.minutes:g}: growth does not show in less than {_SHORTEST_MINUTES:g}")
    holds = [_soaks(part, options.minutes) for part in options.part or PARTS]
    return 0 if all(holds) else 1


def _soaks(part: str, minutes: float) -> bool:
    """Soak one part, and return whether it holds."""
    say(f"soak {part}, {minutes:g} minutes")
    _RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{part}-", dir=_RESULTS) as folder:
        came_to = PARTS[part](Path(folder).resolve(), minutes=minutes)
    path = _RESULTS / f"{part}.json"
    path.write_text(json.dumps({"machine": machine(), "minutes": minutes, **came_to.to_json()}, indent=2) + "\n")
    show(f"soak {part}", [_row(finding) for finding in came_to.findings])
    for wrong in came_to.wrong:
        print(f"  wrong: {wrong}")
    print(f"  met: {', '.join(f'{what} {times}' for what, times in came_to.met.items())}")
    print(f"  -> {path}")
    return came_to.holds


def _row(finding: Finding) -> dict[str, Any]:
    unit = f" {finding.unit}" if finding.unit else ""
    goal = "no more than before" if finding.most_an_hour is None else f"{finding.most_an_hour:.1f}{unit} an hour"
    return {
        "figure": finding.quantity,
        "value": f"{finding.an_hour:+.1f} (± {finding.uncertain:.1f})",
        "unit": f"{unit} an hour".strip(),
        "peer": f"{finding.first:.1f}, then {finding.second:.1f}{unit}",
        "goal": goal,
        "holds": finding.holds,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
