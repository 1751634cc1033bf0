"""Experiments that write with the library: its log, with results in side files too, and checkpoints of one long run."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crash.style import ITEMS, LARGE, STEPS, Durable, Files, Style, result_of
from resumable_sweep import CheckpointFellBack, ResumableSweep, load_state, save_state
from resumable_sweep.contract.log_format import entries_of

_LOG = "results.jsonl"
_STATE = "state"


def _run_log(of: Callable[[int], Any]) -> Callable[[Path, Durable], None]:
    def run(snapshot: Path, durable: Durable) -> None:
        with ResumableSweep(ITEMS, checkpoint_path=snapshot / _LOG, script=False) as sweep:
            for item in sweep.pending:
                sweep.record(item, of(item["x"]), durable=item["x"] % 3 == 2)
                if item["x"] % 3 == 2:
                    durable(item["x"] + 1)
        durable(STEPS)

    return run


def _large_result(number: int) -> bytes:
    return f"{number:08d}".encode() * (LARGE // 8)


def _log_results(files: Files) -> dict[str, Any]:
    return {entry["key"]: entry["result"] for entry in entries_of(files.get(_LOG, b"")) if entry["kind"] == "done"}


def _wrong_log(files: Files) -> Iterator[str]:
    done = [entry["key"] for entry in entries_of(files.get(_LOG, b"")) if entry["kind"] == "done"]
    if len(set(done)) < len(done):
        yield f"a key is recorded twice: {done}"
    for key, result in _log_results(files).items():
        if result != result_of(int(key.removeprefix("item-"))):
            yield f"the result of {key} is {result!r:.80}"


def _wrong_log_with_side_files(files: Files) -> Iterator[str]:
    for key, result in _log_results(files).items():
        path = result["$sweep.file"]["path"]
        if files.get(path) != _large_result(int(key.removeprefix("item-"))):
            yield f"{key} is recorded, and its side file {path} is {'wrong' if path in files else 'missing'}"


def _part(step: int, name: str) -> bytes:
    return f"{step} {name}\n".encode() * 300


def _write_folder(step: int, made: Path) -> None:
    (made / "model").mkdir(parents=True)
    for name in ("model/weights", "optimizer"):
        (made / name).write_bytes(_part(step, name))


def _run_state(state_of: Callable[[int], Any]) -> Callable[[Path, Durable], None]:
    def run(snapshot: Path, durable: Durable) -> None:
        loaded = load_state(snapshot / _STATE)
        # A save that was cut off before its manifest took its place is brought to its end by the next save alone: so
        # whoever finds the last step saves it again. Until then the mirror has the checkpoint before.
        for step in range(min(loaded.extra["step"] + 1, STEPS) if loaded else 1, STEPS + 1):
            save_state(snapshot / _STATE, state_of(step), {"step": step})

    return run


def _loaded(files: Files) -> dict[str, bytes]:
    """Return what the library finds in a checkpoint, by path; the step under no name. Empty where there is none."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The directory is met in the middle of a save too: then the checkpoint before is the newest.
        warnings.simplefilter("ignore", CheckpointFellBack)
        for path, data in files.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        loaded = load_state(Path(folder) / _STATE)
        if loaded is None:
            return {}
        step = {"": str(loaded.extra["step"]).encode()}
        if loaded.path.is_file():
            return {**step, "file": loaded.path.read_bytes()}
        inside = (path for path in loaded.path.rglob("*") if path.is_file())
        return {**step, **{path.relative_to(loaded.path).as_posix(): path.read_bytes() for path in inside}}


def _state_step(files: Files) -> int:
    return int(_loaded(files).get("", b"0"))


def _wrong_state(names: tuple[str, ...], files: Files) -> Iterator[str]:
    loaded = _loaded(files)
    step = int(loaded.pop("", b"0"))
    if step and loaded != {name: _part(step, name) for name in names}:
        yield f"the checkpoint of step {step} holds {sorted(loaded)}, and not what was saved"


STYLES = (
    Style(
        name="log",
        run=_run_log(result_of),
        wrong=_wrong_log,
        progress=lambda files: len(_log_results(files)),
        counts=True,
        environment={"SWEEP_CHECKPOINT_FILE": _LOG},
    ),
    Style(
        name="side-files",
        run=_run_log(_large_result),
        wrong=_wrong_log_with_side_files,
        progress=lambda files: len(_log_results(files)),
        counts=True,
        environment={"SWEEP_CHECKPOINT_FILE": _LOG},
    ),
    Style(
        name="state",
        run=_run_state(lambda step: _part(step, "file")),
        wrong=functools.partial(_wrong_state, ("file",)),
        progress=_state_step,
        comes_to=_loaded,
        environment={"SWEEP_CHECKPOINT_FILE": _STATE},
    ),
    Style(
        name="state-folder",
        run=_run_state(lambda step: functools.partial(_write_folder, step)),
        wrong=functools.partial(_wrong_state, ("model/weights", "optimizer")),
        progress=_state_step,
        comes_to=_loaded,
        environment={"SWEEP_CHECKPOINT_FILE": _STATE},
    ),
)
