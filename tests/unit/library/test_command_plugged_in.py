from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from resumable_sweep._command import plugged_in
from resumable_sweep._command.program import main


def test_store_reads_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["store", "--help"])
    assert ended.value.code == 0
    assert "verify" in capsys.readouterr().out


def test_the_command_lists_store(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "look into a run's bucket" in capsys.readouterr().out


def test_without_the_sidecar_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugged_in, "entry_points", lambda **_: [])
    assert main(["store", "ls", "memory://x"]) == 2
    assert "pip install 'resumable-sweep[sidecar]'" in capsys.readouterr().err


def test_a_sidecar_that_lacks_a_package_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint(name="store", value="no_such_package_here:main", group=plugged_in.GROUP)
    monkeypatch.setattr(plugged_in, "entry_points", lambda **_: [broken])
    assert main(["store", "ls", "memory://x"]) == 2
    assert "No module named 'no_such_package_here'" in capsys.readouterr().err
