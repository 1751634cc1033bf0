from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bench.store
from bench.__main__ import main


def row(**fields: object) -> dict[str, Any]:
    return {"figure": "weight", "value": 2, "unit": "kg", "peer": None, "goal": None, "holds": True, **fields}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--quick", "testbed"], "--quick is not for testbed"), (["tesbed"], "no benchmark tesbed; there are testbed")],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 64
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("quick", [False, True])
def test_figures_are_shown_and_written(
    quick: bool, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def figures(*, quick: bool = False) -> list[dict[str, Any]]:
        asked.append(quick)
        return [row(peer="3 kg", goal=2.5)]

    monkeypatch.setattr(bench.store, "figures", figures)
    assert main(["store", "--quick"] if quick else ["store"]) == 0
    assert asked == [quick]
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("weight", "2 kg", "3 kg", "2.5", "holds"))
    written = json.loads((elsewhere / "build/bench/store.json").read_text())
    assert written["figures"] == [row(peer="3 kg", goal=2.5)]
    assert written["machine"]["cpus"] > 0
    assert "load_1m" in written["machine"]


def test_a_missed_goal_is_told_by_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.store, "figures", lambda: [row(goal=1, holds=False), row()])
    assert main(["store"]) == 1
    assert "MISSED" in capsys.readouterr().out
