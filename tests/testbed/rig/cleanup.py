"""Take away what was made: one machine, or all of a cluster; works from what the kernel shows, not from a record."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from rig import cgroups, network, processes
from rig.commands import run
from rig.state import NodeSpec, State, cgroup, network_namespace

_GIVE_UP_SECONDS = 30.0


def remove_machine(state: State, node: NodeSpec) -> None:
    """Remove all that a node leaves behind; nothing if its name is another's by now."""
    index = state.addresses.index
    with state.locked():
        if node not in state.nodes():
            return
        processes.end_machine(state.directory, node.name)
        network.remove_namespace(index, node.name)
        empty_cgroup(cgroup(index, node.name))
        shutil.rmtree(state.machines / node.name, ignore_errors=True)


def remove_cluster(state: State) -> list[str]:
    """Remove everything of the cluster; return what would not go, one line each: nothing when all is well."""
    _end_all(state.directory)
    index = state.index()
    if index is not None:
        network.remove_host_link(index)
        for namespace in network.namespaces(index):
            processes.end([int(pid) for pid in run(["ip", "netns", "pids", namespace]).split()])
            network.remove_namespace(index, namespace.removeprefix(network_namespace(index, "")))
        empty_cgroup(cgroup(index))
    for mount in _mounts_below(state.directory):
        run(["umount", "--lazy", mount])
    shutil.rmtree(state.directory, ignore_errors=True)
    left = leftovers(state)
    if not left:
        state.release()
    return left


def leftovers(state: State) -> list[str]:
    """What there still is of a cluster, one sentence each."""
    found = [f"process {pid} ({machine})" for pid, machine in processes.of_cluster(state.directory).items()]
    found += [f"mount {mount}" for mount in _mounts_below(state.directory)]
    if state.directory.exists():
        found.append(f"directory {state.directory}")
    index = state.index()
    if index is not None:
        found += [f"network namespace {name}" for name in network.namespaces(index)]
        if network.has_host_link(index):
            found.append(f"network interface of cluster {index} on the host")
        found += [f"cgroup {root / cgroup(index)}" for root in cgroups.hierarchies() if (root / cgroup(index)).exists()]
    return found


def empty_cgroup(path: str) -> None:
    """End all processes in a cgroup and remove it."""
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while True:
        for pid in cgroups.members(path) - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not cgroups.remove(path) or time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _end_all(directory: Path) -> None:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while pids := processes.of_cluster(directory):
        processes.end(pids)
        if time.monotonic() > deadline:
            return  # what is left is told at the end
        time.sleep(0.05)


def _mounts_below(directory: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((p for p in places if Path(p).is_relative_to(directory)), key=len, reverse=True)
