from __future__ import annotations

from pathlib import Path

import pytest

from sweep_operator.api import generated
from sweep_operator.api.generated import run_generator


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(generated, "REPOSITORY", tmp_path)
    return tmp_path


def test_writes(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_generator({"new/folder/file": "one\n"}, description="", arguments=[]) == 0
    assert (repository / "new/folder/file").read_text() == "one\n"
    assert capsys.readouterr().out == "wrote new/folder/file\n"


def test_check_is_silent_where_nothing_differs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "file").write_text("one\n")
    assert run_generator({"file": "one\n"}, description="", arguments=["--check"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("present", "shown"), [("old\n", "-old\n+new\n"), (None, "+new\n")])
def test_check_shows_what_differs_and_writes_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str], present: str | None, shown: str
) -> None:
    file = repository / "file"
    if present is not None:
        file.write_text(present)
    assert run_generator({"file": "new\n"}, description="", arguments=["--check"]) == 1
    assert shown in capsys.readouterr().out
    assert (file.read_text() if file.exists() else None) == present


def test_says_that_it_needs_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "REPOSITORY", tmp_path)
    with pytest.raises(SystemExit) as caught:
        run_generator({"file": "new\n"}, description="", arguments=[])
    assert caught.value.code == 2
    assert "only in a checkout" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
