from __future__ import annotations

from pathlib import Path

import pytest

from rig import notice as module
from rig.errors import RigError
from rig.notice import announce_reclaim
from rig.state import NodeSpec, State


def test_notice_of_another_cloud_than_the_nodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = NodeSpec("spot-1", 1, spot=True, gpus=0, cloud="gce")
    monkeypatch.setattr(module, "machine_that_is_on", lambda state, name: (node, 1))

    with pytest.raises(
        RigError, match=r"--cloud ec2: the metadata server of spot-1 is that of gce.*--cloud ec2` joins"
    ):
        announce_reclaim(State(tmp_path), "spot-1", then="kill", after=None, node_delete_after=0, cloud="ec2")
