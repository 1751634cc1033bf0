"""An experiment without an end: `experiment.py`, in a sweep's environment; SIGTERM ends it.

It records ten items a second, writes a checkpoint of 10 MiB anew every 20 s, and makes a checkpoint that is a directory
every 30 s, of which it keeps the newest two.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import time
from pathlib import Path

from resumable_sweep import ResumableSweep

LOG = "results.jsonl"
CHECKPOINT = "checkpoint.bin"
COMMIT = "directories/*/DONE"
"""Pattern of the files that say that a directory is whole."""
_ITEM_S = 0.1
_CHECKPOINT_S = 20.0
_CHECKPOINT_BYTES = 10 << 20
_DIRECTORY_S = 30.0
_FILES = 5
_FILE_BYTES = 64 << 10
_KEPT = 2


def main() -> None:
    snapshot = Path(os.environ["SWEEP_SNAPSHOT_DIR"])
    directories = snapshot / "directories"
    directories.mkdir(exist_ok=True)
    checkpoint_at = directory_at = 0.0
    made = 0
    with ResumableSweep(itertools.count(), script=False, show_progress=False) as sweep:
        for item in sweep.pending:
            now = time.monotonic()
            if now >= checkpoint_at:
                checkpoint_at = now + _CHECKPOINT_S
                _write_checkpoint(snapshot / CHECKPOINT)
            if now >= directory_at:
                directory_at = now + _DIRECTORY_S
                _make_directory(directories / f"{made:06d}")
                if made >= _KEPT:
                    shutil.rmtree(directories / f"{made - _KEPT:06d}")
                made += 1
            time.sleep(_ITEM_S)
            sweep.record(item, {"loss": 1 / (1 + item), "epochs": 12})


def _write_checkpoint(path: Path) -> None:
    staged = path.with_name(f"{path.name}.tmp")
    staged.write_bytes(secrets.token_bytes(_CHECKPOINT_BYTES))
    staged.replace(path)


def _make_directory(path: Path) -> None:
    path.mkdir()
    for number in range(_FILES):
        (path / f"part-{number}").write_bytes(secrets.token_bytes(_FILE_BYTES))
    (path / "DONE").touch()


if __name__ == "__main__":
    main()
