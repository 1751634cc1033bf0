from __future__ import annotations

from pathlib import Path

import pytest

from rig.limits import raise_limits, restore_limits


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    path = tmp_path / "max_user_instances"
    path.write_text("128\n")
    return path


def test_low_limit_is_raised_and_put_back(tmp_path: Path, setting: Path) -> None:
    memory = tmp_path / "before"

    raise_limits(memory, setting=setting)
    raise_limits(memory, setting=setting)
    assert int(setting.read_text()) > 128
    restore_limits(memory, setting=setting)

    assert setting.read_text() == "128\n"
    assert not memory.exists()


def test_first_value_is_remembered_although_somebody_lowers_it_meanwhile(tmp_path: Path, setting: Path) -> None:
    memory = tmp_path / "before"
    raise_limits(memory, setting=setting)
    setting.write_text("64\n")

    raise_limits(memory, setting=setting)
    restore_limits(memory, setting=setting)

    assert setting.read_text() == "128\n"


def test_high_limit_is_left_alone(tmp_path: Path, setting: Path) -> None:
    setting.write_text("100000\n")

    raise_limits(tmp_path / "before", setting=setting)
    restore_limits(tmp_path / "before", setting=setting)

    assert setting.read_text() == "100000\n"
