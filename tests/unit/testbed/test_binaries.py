from __future__ import annotations

from pathlib import Path

import pytest

from rig.binaries import MODULES, GoModule, binary, content_hash
from rig.errors import RigError
from rig.progress import keep_quiet

_MODULE = GoModule(directory="tools", packages={"mine": "./mine", "theirs": "example.org/theirs"})


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    root = tmp_path / "tools"
    (root / "mine").mkdir(parents=True)
    (root / "go.mod").write_text("module tools\n")
    (root / "go.sum").write_text("sums\n")
    (root / "mine" / "main.go").write_text("package main\n")
    return tmp_path


def test_hash_changes_with_the_pinned_sums(sources: Path) -> None:
    before = content_hash(_MODULE, "theirs", sources=sources)
    (sources / "tools" / "go.sum").write_text("other sums\n")

    assert content_hash(_MODULE, "theirs", sources=sources) != before


def test_hash_of_a_program_of_ours_changes_with_its_source_and_no_other_does(sources: Path) -> None:
    mine, theirs = (content_hash(_MODULE, name, sources=sources) for name in ("mine", "theirs"))
    (sources / "tools" / "mine" / "main.go").write_text("package main // changed\n")

    assert content_hash(_MODULE, "mine", sources=sources) != mine
    assert content_hash(_MODULE, "theirs", sources=sources) == theirs


def test_hash_changes_with_what_is_left_out_of_the_build(sources: Path) -> None:
    lean = GoModule(directory="tools", packages=_MODULE.packages, tags="lean")

    assert content_hash(lean, "theirs", sources=sources) != content_hash(_MODULE, "theirs", sources=sources)


def test_hash_does_not_depend_on_where_the_repository_lies(sources: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (sources / "tools").rename(tmp_path / "kept")
    moved.mkdir()
    (tmp_path / "kept").rename(moved / "tools")
    before = content_hash(_MODULE, "mine", sources=moved)
    moved.rename(tmp_path / "again")

    assert content_hash(_MODULE, "mine", sources=tmp_path / "again") == before


def test_every_program_is_built_by_one_module_only() -> None:
    names = [name for module in MODULES for name in module.packages]

    assert len(names) == len(set(names))


def test_program_in_the_cache_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # so that a build would fail
    module = next(m for m in MODULES if "helm" in m.packages)
    cached = tmp_path / "resumable-sweep" / "testbed" / "bin" / content_hash(module, "helm") / "helm"
    cached.parent.mkdir(parents=True)
    cached.touch()

    assert binary("helm", report=keep_quiet) == cached


def test_missing_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")

    with pytest.raises(RigError, match=r"cannot build helm: `go` is not on the PATH"):
        binary("helm", report=keep_quiet)


def test_unknown_program_is_refused_with_those_there_are() -> None:
    with pytest.raises(RigError, match=r"'minikube' is none of the testbed's; there are .*kubelet"):
        binary("minikube", report=keep_quiet)
