from __future__ import annotations

from pathlib import Path

from rig.daemons import Daemon
from rig.machine import MachineSpec


def test_spec_survives_being_written_and_read(tmp_path: Path) -> None:
    spec = MachineSpec(
        name="spot-1",
        logs="/logs",
        daemons=[Daemon(name="a", argv=["/a", "-b"], after=["127.0.0.1:1", "/socket"], env={"C": "d"})],
        binds={"/var/lib": "/elsewhere"},
        fresh=["/run"],
        login_manager=True,
    )

    spec.write(tmp_path / "machine.json")

    assert MachineSpec.read(tmp_path / "machine.json") == spec
