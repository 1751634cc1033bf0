from __future__ import annotations

from pathlib import Path

import pytest

from rig import cgroups


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """A directory like the root of a version 2 hierarchy."""
    root = tmp_path / "unified"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    (root / "cgroup.subtree_control").write_text("")
    return root


@pytest.fixture
def cpuset(tmp_path: Path) -> Path:
    """A directory like the root of the cpuset hierarchy of version 1, whose kernel fills in new cgroups."""
    root = tmp_path / "cpuset"
    for directory, cpus, mems in (
        (root, "0-1\n", "0\n"),
        (root / "rsw-0", "\n", "\n"),
        (root / "rsw-0/spot-1", "\n", "\n"),
    ):
        directory.mkdir()
        (directory / "cpuset.cpus").write_text(cpus)
        (directory / "cpuset.mems").write_text(mems)
    (root / "cpuset.cpu_exclusive").write_text("1\n")
    return root


def test_hierarchies_of_both_versions_are_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
        "proc /proc proc rw 0 0\n"
    )

    assert cgroups.hierarchies(mounts) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_new_cpuset_gets_the_cpus_and_memory_of_its_parent(cpuset: Path) -> None:
    cgroups.create("rsw-0/spot-1", roots=[cpuset])

    assert (cpuset / "rsw-0" / "spot-1" / "cpuset.cpus").read_text() == "0-1\n"
    assert (cpuset / "rsw-0" / "spot-1" / "cpuset.mems").read_text() == "0\n"


def test_version_2_hands_its_controllers_down(unified: Path) -> None:
    cgroups.create("rsw-0/spot-1", roots=[unified])

    assert (unified / "rsw-0" / "spot-1").is_dir()
    assert (unified / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_members_of_a_cgroup_and_of_those_below_are_found(tmp_path: Path) -> None:
    below = tmp_path / "rsw-0" / "spot-1" / "pods"
    below.mkdir(parents=True)
    (tmp_path / "rsw-0" / "cgroup.procs").write_text("12\n")
    (below / "cgroup.procs").write_text("34\n56\n")

    assert cgroups.members("rsw-0", roots=[tmp_path]) == {12, 34, 56}
    assert cgroups.members("rsw-1", roots=[tmp_path]) == set()


def test_removing_tells_what_would_not_go(tmp_path: Path) -> None:
    (tmp_path / "rsw-0" / "empty").mkdir(parents=True)
    (tmp_path / "rsw-0" / "busy").mkdir()
    (tmp_path / "rsw-0" / "busy" / "task").touch()

    left = cgroups.remove("rsw-0", roots=[tmp_path])

    assert set(left) == {tmp_path / "rsw-0" / "busy", tmp_path / "rsw-0"}
    assert not (tmp_path / "rsw-0" / "empty").exists()


def test_removing_what_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    assert cgroups.remove("rsw-0", roots=[tmp_path]) == []
