from __future__ import annotations

from pathlib import Path

import pytest

from rig.cluster import Testbed
from rig.errors import RigError


@pytest.mark.parametrize("name", ["control-plane", "pod", "Spot", "spot_1", "-a", "a-", "a" * 41, ""])
def test_name_that_no_node_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RigError, match=f"node name '{name}' is not"):
        Testbed(tmp_path).add(name)


def test_nothing_is_up_where_nothing_was_made(tmp_path: Path) -> None:
    testbed = Testbed(tmp_path / "none")

    assert testbed.status() == {"up": False, "state": str(tmp_path / "none"), "leftovers": []}
    with pytest.raises(RigError, match="no cluster is up"):
        Testbed.attach(tmp_path / "none")
