"""A training whose checkpoints are directories, written in one of two ways: `experiment.py orbax|torch-dcp`.

As Orbax does: under a temporary name, which is renamed when all is there. As torch.distributed.checkpoint does: under
its own name, and `.metadata`, by which it is whole, comes last.
Names of files as of orbax-checkpoint 0.11 and PyTorch 2.9.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

STEPS = 60
_SAVE_EVERY = 3
_KEEP = 2
_PARTS = 4
_PART_BYTES = 200_000
_PACE_SECONDS = 0.5
_PAUSE_SECONDS = 0.15
"""Between two parts of a checkpoint: it takes longer to write than to look at."""

State = list[str]


def main(way: str) -> None:
    signal.signal(signal.SIGTERM, _stop)
    write, marker = {"orbax": (_as_orbax, "_CHECKPOINT_METADATA"), "torch-dcp": (_as_torch, ".metadata")}[way]
    folder = Path(os.environ["SWEEP_SNAPSHOT_DIR"]) / "checkpoints"
    folder.mkdir(exist_ok=True)
    step, state = _newest(folder, marker)
    while step < STEPS:
        time.sleep(_PACE_SECONDS)
        step += 1
        state = [hashlib.sha256(f"{step} {part}".encode()).hexdigest() for part in state]
        if step % _SAVE_EVERY == 0:
            write(folder / str(step), state)
            for older in _whole(folder, marker)[:-_KEEP]:
                shutil.rmtree(older)
            print("ran", step, flush=True)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(143)


def _whole(folder: Path, marker: str) -> list[Path]:
    found = [path for path in folder.iterdir() if path.name.isdecimal() and (path / marker).exists()]
    return sorted(found, key=lambda path: int(path.name))


def _newest(folder: Path, marker: str) -> tuple[int, State]:
    whole = _whole(folder, marker)
    for other in set(folder.iterdir()) - set(whole):
        print("removed", other.name, "which is not whole", flush=True)
        shutil.rmtree(other)
    if not whole:
        return 0, [f"part {number}" for number in range(_PARTS)]
    digests = json.loads((whole[-1] / marker).read_text())
    state = []
    for name, digest in sorted(digests.items()):
        data = (whole[-1] / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit(f"{whole[-1] / name} is not what {marker} says: this checkpoint came back torn")
        state.append(data[:64].decode())
    return int(whole[-1].name), state


def _as_orbax(path: Path, state: State) -> None:
    temporary = path.with_name(f"{path.name}.orbax-checkpoint-tmp-{time.time_ns()}")
    temporary.mkdir()
    # Orbax's marker says that the directory is a checkpoint, not that it is whole: that is what the rename says.
    _parts(temporary, state, "_CHECKPOINT_METADATA", lambda number: f"d/{number:032x}")
    temporary.rename(path)


def _as_torch(path: Path, state: State) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    _parts(path, state, ".metadata", lambda number: f"__{number}_0.distcp")


def _parts(folder: Path, state: State, marker: str, name_of: Callable[[int], str]) -> None:
    digests = {}
    for number, part in enumerate(state):
        file = folder / name_of(number)
        file.parent.mkdir(exist_ok=True)
        data = (part * (_PART_BYTES // len(part) + 1)).encode()[:_PART_BYTES]
        with file.open("wb") as out:
            out.write(data[: _PART_BYTES // 2])
            out.flush()
            time.sleep(_PAUSE_SECONDS)
            out.write(data[_PART_BYTES // 2 :])
        digests[name_of(number)] = hashlib.sha256(data).hexdigest()
    unfinished = folder / f"{marker}.tmp"
    unfinished.write_text(json.dumps(digests))
    unfinished.rename(folder / marker)


if __name__ == "__main__":
    main(*sys.argv[1:])
