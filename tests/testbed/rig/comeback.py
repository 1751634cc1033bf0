"""Let a machine come back: the cable of a partitioned one, the power of one that is reset where it stands."""

from __future__ import annotations

from rig import cgroups, cleanup, launch, network, node, processes
from rig.errors import RigError
from rig.machine import MachineSpec
from rig.reclaim import machine_that_is_on
from rig.state import State, cgroup


def heal_node(state: State, name: str) -> None:
    """Reconnect a partitioned node, whose containers have gone on.

    Raises ``RigError`` where there is no such node, where it is off, or where it is connected.
    """
    found, _ = machine_that_is_on(state, name)
    if network.is_plugged_in(state.addresses, found):
        raise RigError(f"node {name!r} is connected; `testbed reclaim {name} --how partition` cuts it off")
    network.plug_in(state.addresses, found)


def reboot_node(state: State, name: str) -> None:
    """Reset a machine where it stands: it loses power and is switched on again, with its disk and its Node object.

    Returns at once. Raises ``RigError`` where there is no such node, or where it is off.
    """
    with state.locked():
        found, _ = machine_that_is_on(state, name)
        index, directory = state.addresses.index, state.machines / name
        network.unplug(state.addresses, found)
        processes.end_machine(state.directory, name)
        cleanup.empty_cgroup(cgroup(index, name))
        cgroups.create(cgroup(index, name))
        node.boot_anew(directory)
        network.plug_in(state.addresses, found)
        launch.switch_on(state, MachineSpec.read(directory / "machine.json"), index=index, directory=directory)
