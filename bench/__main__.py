"""`make bench`: run all benchmarks, or those that are named, and write one JSON file each.

`--quick` measures less where a benchmark can: within a minute (`peers`: within some), and with more noise.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench.table import show

NAMES = ("testbed", "reclaim", "peers", "library", "store_engines", "store", "sidecar", "merge", "operator")
_QUICK = "--quick"
_CAN_BE_QUICK = ("peers", "library", "store", "sidecar", "operator")
_RESULTS = Path("build/bench")


def main(names: list[str]) -> int:
    """Run the benchmarks of those names, all for none; exit status 1 where a goal is missed."""
    quick, names = _QUICK in names, [name for name in names if name != _QUICK]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 64
    slow = [name for name in names or NAMES if name not in _CAN_BE_QUICK] if quick else []
    if slow:
        print(f"{_QUICK} is not for {', '.join(slow)}; name {', '.join(_CAN_BE_QUICK)}", file=sys.stderr)
        return 64
    holds = True
    for name in names or NAMES:
        print(f"bench {name}", flush=True)
        figures: list[dict[str, Any]] = importlib.import_module(f"bench.{name}").figures(
            **({"quick": True} if quick else {})
        )
        _RESULTS.mkdir(parents=True, exist_ok=True)
        path = _RESULTS / f"{name}.json"
        path.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n")
        show(name, figures)
        print(f"  on {machine()}")
        print(f"  -> {path}")
        holds = holds and all(row["holds"] for row in figures)
    return 0 if holds else 1


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(_RESULTS),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _file_system(path: Path) -> str:
    """Return the kind of the file system that `path` lies on, as the kernel names it."""
    where = str(path.resolve())
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(place, kind) for place, kind in mounts if f"{where}/".startswith(f"{place.rstrip('/')}/")]
    return max(holding, key=lambda mount: len(mount[0]))[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
