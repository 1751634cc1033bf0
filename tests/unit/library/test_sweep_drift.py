"""What results are made from, through resumes: kept, handed back, and held against what the program says now."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import CheckpointFellBack, Drifted, DriftWarning, ResumableSweep

FIRST: dict[str, Any] = {"config": {"lr": 0.1}, "seed": 1, "items": ["a", "b", "c"]}
CHANGED: dict[str, Any] = {"config": {"lr": 0.2}, "seed": 2, "items": ["a", "c", "d"], "script": "print(2)\n"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "experiment.py"
    script.write_text("print(1)\n")
    return script


def enter(path: Path, script: Path, *changed: str, **parameters: Any) -> ResumableSweep:
    """Enter a sweep with some parts changed, record its first two items and leave it."""
    if "script" in changed:
        script.write_text(CHANGED["script"])
    given = {name: CHANGED[name] if name in changed else value for name, value in FIRST.items()}
    with ResumableSweep(checkpoint_path=path, script=script, **{**given, **parameters}) as sweep:
        for item in ("b", "a") if "items" not in changed else ():
            sweep.record(item, item)
    return sweep


@pytest.mark.parametrize("part", ["config", "script", "seed", "items"])
def test_what_changed_is_refused_unless_it_is_allowed(path: Path, script: Path, part: str) -> None:
    enter(path, script)
    before = path.read_bytes()
    with pytest.raises(Drifted, match=rf'allow_drift=\["{part}"\]'):
        enter(path, script, part)
    others = [other for other in ("config", "script", "seed", "items") if other != part]
    with pytest.raises(Drifted):
        enter(path, script, part, allow_drift=others)
    assert path.read_bytes() == before
    for allow in (part, [part], True):
        log = path.with_name(f"{allow}")
        script.write_text("print(1)\n")
        enter(log, script)
        with pytest.warns(DriftWarning):
            enter(log, script, part, allow_drift=allow)
        # From now on that is what the results are made from.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            enter(log, script, part)


def test_what_is_left_out_is_what_it_was(path: Path, script: Path) -> None:
    enter(path, script)
    for _ in range(2):
        with ResumableSweep(FIRST["items"], checkpoint_path=path, script=False) as sweep:
            assert sweep.config == {"lr": 0.1}
            assert list(sweep.pending) == ["c"]
    with pytest.raises(Drifted):
        enter(path, script, "seed")


@pytest.mark.parametrize("fate", ["lost", "damaged"])
def test_without_the_file_beside_it_the_log_still_knows(path: Path, script: Path, fate: str) -> None:
    enter(path, script)
    preserved = path.with_name("results.jsonl.sweep.json")
    if fate == "lost":
        preserved.unlink()
        enter(path, script)
    else:
        preserved.write_bytes(preserved.read_bytes().replace(b"0.1", b"0.3"))
        with pytest.warns(CheckpointFellBack, match="does not fit its own checksum"):
            enter(path, script)
        assert path.with_name("results.jsonl.sweep.json.corrupt-1").exists()
    with ResumableSweep(FIRST["items"], checkpoint_path=path, script=script) as sweep:
        assert sweep.config == {"lr": 0.1}  # given again, it was kept again
    preserved.unlink()
    with pytest.raises(Drifted, match="no copy of the one before was kept"):
        enter(path, script, "config")


def test_new_items_are_more_work_and_lost_ones_are_left_out(path: Path, script: Path) -> None:
    enter(path, script)
    with ResumableSweep([*FIRST["items"], "z"], checkpoint_path=path, script=script) as sweep:
        assert sweep.completed == ["a", "b"]
        assert list(sweep.pending) == ["c", "z"]
    with pytest.warns(DriftWarning, match="1 of 2 recorded keys are no longer among them"):
        sweep = ResumableSweep(["a", "c"], checkpoint_path=path, script=script, allow_drift="items").__enter__()
    assert sweep.completed == ["a"]
    assert sweep.stats().removed == 1
    sweep.record("c", "c")
    sweep.__exit__(None, None, None)
    with ResumableSweep(FIRST["items"], checkpoint_path=path, script=script) as sweep:
        assert sweep.completed == ["a", "b", "c"]  # what was recorded stays


@pytest.mark.parametrize("part", ["config", "script", "seed"])
def test_a_source_of_another_kind_is_refused_unless_it_is_allowed(path: Path, script: Path, part: str) -> None:
    source = path.with_name("before.jsonl")
    enter(source, script)
    with pytest.raises(Drifted, match=r"before\.jsonl holds results of another"):
        enter(path, script, part, resume_from=source)
    with pytest.warns(DriftWarning):
        enter(path, script, part, resume_from=source, allow_drift=part)
    with ResumableSweep(FIRST["items"], checkpoint_path=path, script=False) as sweep:
        assert sweep.completed == ["a", "b"]
