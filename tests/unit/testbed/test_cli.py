from __future__ import annotations

from pathlib import Path

import pytest

from rig.cli import _split_off_kubectl, main


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path / "cluster"))
    return tmp_path / "cluster"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--nodes", "3", "--spot", "4"], "--spot 4 is not between 0 and --nodes 3"),
        (["up", "--nodes", "101"], "--nodes 101 is not between 0 and 100"),
        (["up", "--gpus", "-1"], "--gpus -1 is not between 0 and 64"),
        (["--state", "/run/here", "status"], "--state /run/here lies below one of /run"),
        (["kubeconfig"], "no cluster is up with the state directory"),
        (["reclaim", "spot-1"], "`testbed up` makes one"),
        (["add", "spot-1"], "`testbed up` makes one"),
        (["reclaim", "spot-1", "--how", "notice"], "`testbed up` makes one"),
        (["heal", "spot-1"], "`testbed up` makes one"),
        (["replace", "spot-1"], "`testbed up` makes one"),
        (["reboot", "spot-1"], "`testbed up` makes one"),
        (["kubectl", "get", "nodes"], "`testbed up` makes one"),
        (["images", "build", "none"], "image 'none' is none of this project's"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_mend(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_status_without_a_cluster_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "no cluster is up\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kubectl", "-n", "a", "get", "pods"], ["-n", "a", "get", "pods"]),
        (["--state", "/a", "kubectl", "get"], ["get"]),
        (["--state=/a", "kubectl", "--help"], ["--help"]),
        (["bin", "kubectl"], []),
        (["status"], []),
        ([], []),
    ],
)
def test_all_that_follows_kubectl_is_for_it(arguments: list[str], words: list[str]) -> None:
    given, rest = _split_off_kubectl(arguments)

    assert rest == words
    assert [*given, *rest] == arguments
