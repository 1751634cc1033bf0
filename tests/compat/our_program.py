"""The same sweep with this library, in a process of its own: `our_program.py LOG RESUME_FROM|- PROGRESS_JSON`.

It does an item for each line that it reads from standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from compat.work import ITEMS, label_of, result_of
from resumable_sweep import ResumableSweep


def main(log: str, source: str, progress: str) -> None:
    with ResumableSweep(
        ITEMS, label_of, log, resume_from=None if source == "-" else source, progress_json=progress, show_progress=False
    ) as sweep:
        for result in sweep.completed:
            print("replayed", json.dumps(result), flush=True)
        for item in sweep.pending:
            sys.stdin.readline()
            sweep.record(item, result_of(item))
            sweep.checkpoint()
            print("recorded", item["label"], flush=True)


main(*sys.argv[1:])
