from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import soak.__main__ as command
from soak.soaked import Soaked
from soak.verdict import Finding, Sample


def came_to(*, flat: bool = True, wrong: list[str] | None = None) -> Soaked:
    finding = Finding(
        quantity="memory",
        unit="MiB",
        first=80.0,
        second=81.0,
        an_hour=5.0,
        uncertain=1.0,
        most_an_hour=6.0 if flat else 2.0,
        holds=flat,
    )
    sample = Sample(at_s=10.04, values={"memory": 80.0})
    return Soaked(samples=[sample], findings=[finding], wrong=wrong or [], met={"troubles": 3})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (came_to(), 0, "holds"),
        (came_to(flat=False), 1, "MISSED"),
        (came_to(wrong=["results.jsonl: another content"]), 1, "wrong: results.jsonl: another content"),
    ],
    ids=["flat", "grows", "wrong"],
)
def test_what_came_of_it_is_shown_written_and_told_by_the_exit_status(
    found: Soaked,
    code: int,
    said: str,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[float] = []

    def soaked(folder: Path, *, minutes: float) -> Soaked:
        assert folder.is_dir()
        asked.append(minutes)
        return found

    monkeypatch.setitem(command.PARTS, "sidecar", soaked)
    assert command.main(["--part", "sidecar", "--minutes", "7"]) == code
    assert asked == [7]
    shown = capsys.readouterr().out
    assert said in shown
    assert "80.0, then 81.0 MiB" in shown
    assert "troubles 3" in shown
    written = json.loads((elsewhere / "build/soak/sidecar.json").read_text())
    assert written["holds"] is (code == 0)
    assert written["minutes"] == 7
    assert written["samples"] == [{"at_s": 10.0, "memory": 80.0}]
    assert written["machine"]["cpus"] > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--part", "operetor"], "invalid choice: 'operetor' (choose from 'sidecar', 'operator')"),
        (["--minutes", "0.5"], "--minutes is 0.5"),
    ],
)
def test_what_cannot_be_soaked_is_said(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(given)
    assert said in capsys.readouterr().err


def test_without_a_name_all_parts_are_soaked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(part: str) -> Callable[..., Soaked]:
        def soaked(folder: Path, *, minutes: float) -> Soaked:
            asked.append(part)
            return came_to()

        return soaked

    for part in command.PARTS:
        monkeypatch.setitem(command.PARTS, part, noted(part))
    assert command.main([]) == 0
    assert asked == ["sidecar", "operator"]
