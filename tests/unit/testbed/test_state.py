from __future__ import annotations

from pathlib import Path

import pytest

from rig import state as module
from rig.addresses import CLUSTERS
from rig.errors import RigError
from rig.state import State, cgroup, host_link, network_namespace


@pytest.fixture(autouse=True)
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "claims"
    monkeypatch.setattr(module, "_CLAIMS", directory)
    monkeypatch.setattr(module, "raise_limits", lambda memory: memory.write_text("raised"))
    monkeypatch.setattr(module, "restore_limits", lambda memory: memory.unlink(missing_ok=True))
    return directory


def test_each_cluster_claims_a_number_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first, second = State(tmp_path / "a"), State(tmp_path / "b")

    assert [first.claim(), second.claim(), first.claim()] == [0, 1, 0]
    assert second.addresses.network == "100.65.0.0/16"


def test_released_number_is_free_again(tmp_path: Path) -> None:
    first, second, third = (State(tmp_path / name) for name in "abc")
    first.claim()
    second.claim()

    first.release()

    assert first.index() is None
    assert third.claim() == 0


def test_host_is_put_back_only_with_the_last_cluster(tmp_path: Path, claims: Path) -> None:
    first, second = State(tmp_path / "a"), State(tmp_path / "b")
    first.claim()
    second.claim()

    first.release()
    assert (claims / "inotify-before").exists()
    second.release()

    assert not (claims / "inotify-before").exists()


def test_no_number_left_is_told(tmp_path: Path) -> None:
    for index in range(CLUSTERS):
        State(tmp_path / str(index)).claim()

    with pytest.raises(RigError, match=f"all {CLUSTERS} cluster numbers are taken"):
        State(tmp_path / "more").claim()


def test_cluster_that_was_never_made_has_no_addresses(tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r"there is no cluster .*`testbed up` makes one"):
        _ = State(tmp_path).addresses


def test_nodes_are_remembered_with_numbers_that_are_free(tmp_path: Path) -> None:
    state = State(tmp_path / "a")
    first = state.remember("spot-1", spot=True, gpus=2)
    second = state.remember("node-1", spot=False, gpus=0)
    (state.machines / "spot-1" / "node.json").unlink()

    third = state.remember("spot-2", spot=True, gpus=1)

    assert (first.number, second.number, third.number) == (1, 2, 1)
    assert state.nodes() == [third, second]


def test_node_is_known_when_its_machine_is_gone(tmp_path: Path) -> None:
    state = State(tmp_path / "a")
    spec = state.remember("spot-1", spot=True, gpus=2, cloud="ec2")
    (state.machines / "spot-1" / "node.json").unlink()

    assert state.nodes() == []
    assert state.last_of("spot-1") == spec
    assert state.last_of("spot-2") is None


def test_same_name_is_another_incarnation(tmp_path: Path) -> None:
    state = State(tmp_path / "a")

    assert state.remember("spot-1", spot=True, gpus=1) != state.remember("spot-1", spot=True, gpus=1)


@pytest.mark.parametrize("place", ["/run/testbed", "/var/lib/testbed", "/var/log"])
def test_directory_that_nodes_could_not_see_is_refused(place: str) -> None:
    with pytest.raises(RigError, match=f"--state {place} lies below one of /run, "):
        State.at(place)


def test_state_directory_is_chosen_by_argument_then_variable_then_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TESTBED_STATE", raising=False)
    assert State.at(None).directory == tmp_path / "resumable-sweep" / "testbed" / "cluster"
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path / "named"))
    assert State.at(None).directory == tmp_path / "named"
    assert State.at(tmp_path / "given").directory == tmp_path / "given"


def test_names_of_a_cluster_never_start_those_of_another() -> None:
    assert not network_namespace(10, "a").startswith(network_namespace(1, ""))
    assert cgroup(3) == "rsw-3"
    assert cgroup(3, "spot-1") == "rsw-3/spot-1"
    assert len(host_link(CLUSTERS - 1)) <= 15  # the kernel's limit for names of interfaces
