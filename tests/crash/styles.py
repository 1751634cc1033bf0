"""Experiments in each of the styles in which programs write checkpoints, and what of theirs may be found in a store."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from crash import library_styles
from crash.style import LARGE, STEPS, Durable, Files, Style, result_of
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest

# A file with its manifest, as `mime-engine` writes its progress: the file is replaced first, its manifest after it.

_PROGRESS = "out.progress.json"


def _run_pair(snapshot: Path, durable: Durable) -> None:
    path = snapshot / _PROGRESS
    completed = json.loads(path.read_text())["completed"] if path.exists() else []
    for number in range(len(completed), STEPS):
        completed.append({"key": f"item-{number}", "result": result_of(number)})
        data = json.dumps({"completed": completed}).encode()
        _replace(path, data)
        said = {"schema_version": 1, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "extra": {}}
        _replace(manifest_path(path), json.dumps(said).encode())


def _completed(files: Files) -> list[dict[str, Any]]:
    return list(json.loads(files[_PROGRESS])["completed"]) if _PROGRESS in files else []


def _wrong_pair(files: Files) -> Iterator[str]:
    manifest = f"{_PROGRESS}.manifest.json"
    if (_PROGRESS in files) != (manifest in files):
        yield f"of a file and its manifest there is {sorted(files)}"
    elif _PROGRESS in files:
        if parsed_manifest(files[manifest]).sha256 != hashlib.sha256(files[_PROGRESS]).hexdigest():
            yield "the manifest does not fit its file"
        expected = [{"key": f"item-{number}", "result": result_of(number)} for number in range(STEPS)]
        if _completed(files) != expected[: len(_completed(files))]:
            yield f"it records {[record['key'] for record in _completed(files)]}"


# Lines that are appended: `*.jsonl` that is not the library's, and what `checkpoint.append` names.

_LINES = "losses.jsonl"
_TABLE = "losses.csv"


def _lines(name: str) -> list[bytes]:
    if name == _TABLE:
        return [b"step,loss\n", *(f"{number},{result_of(number)}\n".encode() for number in range(STEPS))]
    return [json.dumps({"step": number, "loss": result_of(number)}).encode() + b"\n" for number in range(STEPS)]


def _run_lines(name: str) -> Callable[[Path, Durable], None]:
    def run(snapshot: Path, durable: Durable) -> None:
        path = snapshot / name
        there = path.read_bytes() if path.exists() else b""
        whole = there[: there.rfind(b"\n") + 1]
        with path.open("ab") as file:
            if len(whole) < len(there):
                file.truncate(len(whole))
            for line in _lines(name)[whole.count(b"\n") :]:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    return run


def _wrong_lines(name: str) -> Callable[[Files], Iterator[str]]:
    def wrong(files: Files) -> Iterator[str]:
        data = files.get(name, b"")
        if data != b"".join(_lines(name)[: data.count(b"\n")]):
            yield f"{name} is {data!r:.300}"

    return wrong


# One file, replaced at each step.

_STATE = "state.bin"


def _state(step: int) -> bytes:
    return f"{step:04d}".encode() * (LARGE // 4)


def _run_rewritten(snapshot: Path, durable: Durable) -> None:
    path = snapshot / _STATE
    done = int(path.read_bytes()[:4]) if path.exists() else 0
    for step in range(done + 1, STEPS + 1):
        _replace(path, _state(step))


def _rewritten_progress(files: Files) -> int:
    return int(files[_STATE][:4]) if _STATE in files else 0


def _wrong_rewritten(files: Files) -> Iterator[str]:
    if _STATE in files and files[_STATE] != _state(_rewritten_progress(files)):
        yield f"{_STATE} holds parts of several steps"


# Directories: made under a temporary name and renamed, as orbax does, or with a file that is written last, as torch
# does. The one before goes when the new one is whole.

_PARTS = ("model/weights.bin", "optimizer.bin", "meta.json")
_PIECES = ("__0_0.distcp", "__0_1.distcp")
_MARKER = ".metadata"
_STEP = re.compile(r"step-(\d+)/(.+)")


def _part(step: int, name: str) -> bytes:
    return f"{step} {name}\n".encode() * 400


def _run_renamed(snapshot: Path, durable: Durable) -> None:
    for stale in snapshot.glob("*.orbax-checkpoint-tmp-*"):
        shutil.rmtree(stale)
    newest = _newest_folder(snapshot, "meta.json")
    _drop_older(snapshot, newest)
    for step in range(newest + 1, STEPS + 1):
        made = snapshot / f"step-{step}.orbax-checkpoint-tmp-{step}"
        _write_parts(made, step, _PARTS)
        made.rename(snapshot / f"step-{step}")
        _drop_older(snapshot, step)


def _run_marked(snapshot: Path, durable: Durable) -> None:
    newest = _newest_folder(snapshot, _MARKER)
    _drop_older(snapshot, newest)
    for step in range(newest + 1, STEPS + 1):
        folder = snapshot / f"step-{step}"
        if folder.exists():
            shutil.rmtree(folder)
        _write_parts(folder, step, _PIECES)
        _replace(folder / _MARKER, _part(step, _MARKER))
        _drop_older(snapshot, step)


def _newest_folder(snapshot: Path, last: str) -> int:
    return max(
        (
            int(path.parent.name.removeprefix("step-"))
            for path in snapshot.glob(f"step-*/{last}")
            if path.parent.name.removeprefix("step-").isdigit()
        ),
        default=0,
    )


def _write_parts(folder: Path, step: int, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_part(step, name))


def _drop_older(snapshot: Path, step: int) -> None:
    for folder in snapshot.glob("step-*"):
        if folder.name.removeprefix("step-").isdigit() and int(folder.name.removeprefix("step-")) < step:
            shutil.rmtree(folder)


def _folders(files: Files) -> dict[int, dict[str, bytes]]:
    folders: dict[int, dict[str, bytes]] = {}
    for path, data in files.items():
        if found := _STEP.fullmatch(path):
            folders.setdefault(int(found[1]), {})[found[2]] = data
    return folders


def _wrong_folders(*names: str) -> Callable[[Files], Iterator[str]]:
    def wrong(files: Files) -> Iterator[str]:
        folders = _folders(files)
        for step, there in folders.items():
            # One that is older may be met while it is being removed: so it is on disk, too, and the newest counts.
            if there.keys() - set(names) or (step == max(folders) and there.keys() != set(names)):
                yield f"of step {step} there is {sorted(there)}"
            for name, data in there.items():
                if data != _part(step, name):
                    yield f"{name} of step {step} is {data!r:.80}"
        if others := [path for path in files if not _STEP.fullmatch(path)]:
            yield f"there is {others[:3]}"

    return wrong


def _newest_step(files: Files) -> int:
    return max(_folders(files), default=0)


# Many small files, each written once.

_SMALL = 2 * STEPS


def _run_small(snapshot: Path, durable: Durable) -> None:
    for number in range(_SMALL):
        path = snapshot / "out" / f"{number % 3}" / f"{number}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, result_of(number).encode())


def _wrong_small(files: Files) -> Iterator[str]:
    for path, data in files.items():
        if data != result_of(int(Path(path).stem)).encode():
            yield f"{path} is {data!r:.80}"


def _replace(path: Path, data: bytes) -> None:
    staged = path.with_name(f"{path.name}.tmp")
    with staged.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


STYLES: Mapping[str, Style] = {
    style.name: style
    for style in (
        *library_styles.STYLES,
        Style(
            name="pair",
            run=_run_pair,
            wrong=_wrong_pair,
            progress=lambda files: len(_completed(files)),
            counts=True,
            environment={"SWEEP_CHECKPOINT_FILE": _PROGRESS},
        ),
        Style(
            name="lines",
            run=_run_lines(_LINES),
            wrong=_wrong_lines(_LINES),
            progress=lambda files: files.get(_LINES, b"").count(b"\n"),
        ),
        Style(
            name="append",
            run=_run_lines(_TABLE),
            wrong=_wrong_lines(_TABLE),
            progress=lambda files: files.get(_TABLE, b"").count(b"\n"),
            environment={"SWEEP_APPEND": "*.csv"},
        ),
        Style(name="rewritten", run=_run_rewritten, wrong=_wrong_rewritten, progress=_rewritten_progress),
        Style(name="renamed", run=_run_renamed, wrong=_wrong_folders(*_PARTS), progress=_newest_step),
        Style(
            name="marked",
            run=_run_marked,
            wrong=_wrong_folders(*_PIECES, _MARKER),
            progress=_newest_step,
            environment={"SWEEP_COMMIT": "torch-dcp"},
        ),
        Style(name="small", run=_run_small, wrong=_wrong_small, progress=len),
    )
}
