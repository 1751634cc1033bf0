"""A sweep of mime-engine's, in a process of its own: `mime_program.py OUT RESUME_FROM|- DIES_AT|-`.

It does an item for each line that it reads from standard input.
With DIES_AT it kills itself once it has replaced the file of that many records, before it has written their manifest.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from mime.data import sweep_resume

from compat.work import ITEMS, label_of, result_of


def main(out: str, source: str, dies_at: str) -> None:
    write_manifest = sweep_resume.write_manifest

    def fatal(path: Path, *, extra: dict[str, Any]) -> Path:
        if extra["n_records"] == int(dies_at):
            os.kill(os.getpid(), signal.SIGKILL)
        written: Path = write_manifest(path, extra=extra)
        return written

    if dies_at != "-":
        sweep_resume.write_manifest = fatal
    sweep = sweep_resume.ResumableSweep(ITEMS, label_of, out, resume_from=None if source == "-" else source)
    for result in sweep.completed:
        print("replayed", json.dumps(result), flush=True)
    for item in sweep.pending:
        sys.stdin.readline()
        sweep.record(item, result_of(item))
        print("recorded", item["label"], flush=True)


main(*sys.argv[1:])
