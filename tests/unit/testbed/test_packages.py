from __future__ import annotations

from pathlib import Path

import pytest

from rig import packages
from rig.errors import RigError
from rig.progress import keep_quiet


def test_program_that_is_not_there_is_missing_with_its_package() -> None:
    wanted = {"sh": "dash", "no-such-program": "one", "/no/such/file": "two"}

    assert packages.missing(wanted) == {"no-such-program": "one", "/no/such/file": "two"}


def test_without_apt_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RigError, match=r"no-such-program not found; install what Debian calls some-package"):
        packages.install({"no-such-program": "some-package"}, report=keep_quiet)


def test_nothing_is_installed_where_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    packages.install({"here": "some-package"}, report=keep_quiet)


def test_other_systems_and_users_are_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(RigError, match=r"`testbed up` needs root"):
        packages.require_root_on_linux("`testbed up`")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(RigError, match=r"`testbed up` needs Linux .*this is darwin"):
        packages.require_root_on_linux("`testbed up`")
