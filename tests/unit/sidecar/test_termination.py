from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from resumable_sweep.contract.outcome import MESSAGE_LIMIT_BYTES, Outcome, parsed_outcome
from sweep_sidecar.termination import TerminationMessage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    return path


def test_the_newest_words_are_whole_whatever_was_there(path: Path) -> None:
    message = TerminationMessage(path)
    for outcome in (Outcome("Mirroring", "x" * 300), Outcome("Sealed", "short"), Outcome("Sealed", "é" * 5000)):
        message.write(outcome)
        found = parsed_outcome(path.read_text())
        assert found is not None
        assert found.reason == outcome.reason
        assert outcome.message.startswith(found.message)
        assert path.stat().st_size <= MESSAGE_LIMIT_BYTES


def test_it_is_never_empty_or_torn_in_between(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill at any of its calls leaves what was said before, or what is said now."""
    message = TerminationMessage(path)
    message.write(Outcome("Mirroring", "x" * 300))
    seen = []
    for name in ("open", "pwrite", "close"):
        call = getattr(os, name)

        def watched(*arguments: object, call: object = call) -> object:
            seen.append(json.loads(path.read_text())["reason"])
            done = call(*arguments)  # type: ignore[operator]
            seen.append(json.loads(path.read_text())["reason"])
            return done

        monkeypatch.setattr(os, name, watched)
    message.write(Outcome("Sealed", "short"))
    monkeypatch.undo()
    assert seen[0] == "Mirroring"
    assert seen[-1] == "Sealed"
    assert seen == sorted(seen)


def test_where_nobody_has_made_the_file_none_is_made(tmp_path: Path) -> None:
    TerminationMessage(tmp_path / "none").write(Outcome("Sealed", ""))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    message = TerminationMessage(tmp_path)  # a folder
    message.write(Outcome("Sealed", ""))
    message.write(Outcome("Sealed", ""))
    assert len(caplog.records) == 1
