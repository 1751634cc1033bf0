"""One long simulation, saved and resumed by maddening's own functions, and ended as maddening's own server ends.

On SIGTERM it exits with status 0, whatever is left to do: what looks finished is not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

from maddening.cloud.entrypoint import make_preempt_snapshot_hook, resume_from_url
from maddening.core.graph_manager import GraphManager
from maddening.nodes.spring import SpringDamperNode

STEPS = 80
_SAVE_EVERY = 2
_PACE_SECONDS = 0.5


def springs() -> GraphManager:
    """Return two springs, each anchored to the other's end."""
    graph = GraphManager()
    graph.add_node(SpringDamperNode("soft", timestep=0.01, initial_position=0.5))
    graph.add_node(SpringDamperNode("stiff", timestep=0.01, initial_position=-0.25, stiffness=40.0))
    graph.add_edge("soft", "stiff", "position", "anchor_position")
    graph.add_edge("stiff", "soft", "position", "anchor_position")
    graph.compile()
    return graph


def main() -> None:
    server = SimpleNamespace(gm=springs())
    progress = {"steps": 0}
    url = os.environ.get("RESUME_FROM_URL")
    if url:
        try:
            progress["steps"] = resume_from_url(server, url)["extra"]["steps"]
        except FileNotFoundError:
            print("nothing was saved yet", flush=True)
    # Into MADDENING_SNAPSHOT_DIR, in place: no temporary name, no rename, and the manifest after the file.
    save = make_preempt_snapshot_hook(server, extra_meta=progress)
    session = SimpleNamespace(session_id="trial", stage="running")

    def end(_number: int, _frame: Any) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while progress["steps"] < STEPS:
        time.sleep(_PACE_SECONDS)
        server.gm.step()
        progress["steps"] += 1
        if progress["steps"] % _SAVE_EVERY == 0:
            save(session)
            print("ran", progress["steps"], flush=True)


if __name__ == "__main__":
    main()
