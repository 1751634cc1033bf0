from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._script import ScriptInvalid, diff_of, script_at, script_of, script_of_main, script_sha256


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbfa = 1\nb = 2\n", b"a = 1\r\nb = 2\r\n", b"a = 1\rb = 2", b"a = 1\nb = 2\n\n\n", b"a = 1\nb = 2"],
)
def test_what_editors_change_unasked_is_no_change(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.py").write_bytes(b"a = 1\nb = 2\n")
    (tmp_path / "b.py").write_bytes(data)
    assert script_sha256(tmp_path / "b.py") == script_sha256(tmp_path / "a.py")
    assert script_at(tmp_path / "b.py").text == "a = 1\nb = 2"


@pytest.mark.parametrize("data", [b"a = 1\nb = 3\n", b" a = 1\nb = 2\n", b"a = 1\n\nb = 2\n", b"a = 1\nb = 2 \n", b""])
def test_everything_else_is(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.py").write_bytes(b"a = 1\nb = 2\n")
    (tmp_path / "b.py").write_bytes(data)
    assert script_sha256(tmp_path / "b.py") != script_sha256(tmp_path / "a.py")


def test_a_script_that_is_not_utf8_is_hashed_as_it_is_and_a_long_one_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    hashes = set()
    for data in (b"\xff\n", b"\xff\r\n", b"\xff"):
        file.write_bytes(data)
        assert script_at(file).text is None
        hashes.add(script_sha256(file))
    assert len(hashes) == 3
    file.write_bytes(b"x" * (1 << 20))
    assert script_at(file).text is not None
    file.write_bytes(b"x" * ((1 << 20) + 1))
    assert script_at(file).text is None


def test_the_script_given_wins_and_false_is_none(tmp_path: Path, run_as: Callable[[Path | None], None]) -> None:
    own, other = tmp_path / "own.py", tmp_path / "other.py"
    own.write_text("own")
    other.write_text("other")
    run_as(own)
    found = script_of(None)
    assert found is not None
    assert found.path == own
    found = script_of(str(other))
    assert found is not None
    assert (found.path, found.text) == (other, "other")
    assert script_of(False) is None
    with pytest.raises(ScriptInvalid, match="script=True says nothing"):
        script_of(True)
    with pytest.raises(ScriptInvalid, match=r"script='.*none\.py' cannot be read \(No such file.*script=False"):
        script_of(tmp_path / "none.py")


@pytest.fixture
def run_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Function that makes Python believe it was started with a file, or with none."""

    def run(file: Path | None) -> None:
        main = types.ModuleType("__main__")
        if file is not None:
            main.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "__main__", main)

    return run


def test_the_tests_themselves_have_no_script() -> None:
    assert script_of_main() is None


PIP_SHIM = """#!/venv/bin/python
# -*- coding: utf-8 -*-
import re
import sys
from package.command import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
UV_SHIM = """#!/venv/bin/python
import sys
from package import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""


@pytest.mark.parametrize("text", [PIP_SHIM, UV_SHIM])
def test_a_commands_shim_is_no_script(tmp_path: Path, run_as: Callable[[Path | None], None], text: str) -> None:
    file = tmp_path / "train"
    file.write_text(text)
    run_as(file)
    assert script_of_main() is None
    file.write_text("import sys\nprint(sys.argv)\nsys.exit(0)\n")
    assert script_of_main() == file


def test_the_shims_of_this_environment_are_known(run_as: Callable[[Path | None], None]) -> None:
    shims = [Path(sys.executable).with_name(name) for name in ("pytest", "pip", "mypy")]
    for shim in shims:
        assert shim.is_file()
        run_as(shim)
        assert script_of_main() is None


def test_an_installed_program_and_an_interactive_session_have_no_script(
    tmp_path: Path, run_as: Callable[[Path | None], None]
) -> None:
    for file in (Path(pytest.__file__), Path(json.__file__), tmp_path / "gone.py", tmp_path, None):
        run_as(file)
        assert script_of_main() is None


def test_a_diff_is_short_and_tells_the_lines() -> None:
    before = [f"line {number}" for number in range(1, 101)]
    now = [*before]
    now[49] = "changed"
    now.insert(80, "new")
    assert diff_of("\n".join(before), "\n".join(now)) == [
        "@@ line 49 before, line 49 now @@",
        " line 49",
        "-line 50",
        "+changed",
        " line 51",
        "@@ line 80 before, line 80 now @@",
        " line 80",
        "+new",
        " line 81",
    ]
    assert diff_of("a\nb", "a\nb\nc") == ["@@ line 2 before, line 2 now @@", " b", "+c"]
    assert diff_of("a\nb", "b") == ["@@ line 1 before, line 1 now @@", "-a", " b"]


def test_a_long_diff_is_cut() -> None:
    lines = diff_of("\n".join("a" * 300 for _ in range(100)), "\n".join("b" for _ in range(100)))
    assert len(lines) == 20
    assert lines[-1] == "… and 182 lines more"
    assert max(map(len, lines)) == 120
    assert diff_of("\n".join(map(str, range(9000))), "\n".join(map(str, range(1, 9002)))) == [
        "9001 lines differ, from line 1 on"
    ]


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_a_diff_holds_what_went_and_what_came(before: list[str], now: list[str]) -> None:
    lines = diff_of("\n".join(before), "\n".join(now))
    shown = "".join(line for line in lines if not line.startswith("@@"))
    went, came = shown.count("-"), shown.count("+")
    if len(lines) < 20:
        assert len("\n".join(before).split("\n")) - went + came == len("\n".join(now).split("\n"))
    assert bool(lines) is ("\n".join(before) != "\n".join(now))
