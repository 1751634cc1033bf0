"""Announce a reclaim ahead of time, as clouds do, and then keep the word or take it back.

What follows is up to a process of its own, so that `testbed reclaim` returns while the reclaim takes its course.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from typing import Literal, get_args

from rig import launch, metadata
from rig.api import Api
from rig.errors import RigError
from rig.reclaim import Reclaim, machine_that_is_on, node_uid, reclaim_node
from rig.state import NodeSpec, State

Then = Literal["shutdown", "kill", "nothing"]
THENS: tuple[Then, ...] = get_args(Then)


def announce_reclaim(
    state: State, name: str, *, then: Then, after: float | None, node_delete_after: float, cloud: metadata.Cloud | None
) -> Reclaim:
    """Have the metadata server of a node announce that the machine goes, ``after`` seconds from now.

    ``after`` is the cloud's own time for None. When it is over the machine is shut down or loses its power, as
    ``rig.reclaim.reclaim_node`` does it, or nothing happens to it and the notice is withdrawn. Returns at once; raises
    ``RigError`` where there is no such node, where it is off, where ``after`` is negative, or where its metadata server
    is not that of ``cloud`` (any, for None): a sidecar settles on its cloud once, so that a node's never changes.
    """
    node, _ = machine_that_is_on(state, name)
    if cloud is not None and node.cloud != cloud:
        raise RigError(
            f"--cloud {cloud}: the metadata server of {name} is that of {node.cloud}, and a node's cloud does not"
            f" change; `testbed add NODE --spot --cloud {cloud}` joins one of {cloud}"
        )
    seconds = metadata.NOTICE_SECONDS[node.cloud] if after is None else after
    if seconds < 0:
        raise RigError(f"--after {seconds:g} is negative: say in how many seconds the machine goes")
    done = Reclaim(node=name, uid=node_uid(Api.of(state.kubeconfig), name), how="notice", at=time.time())
    metadata.announce(state.announcement(name), done.at + seconds)
    launch.start_apart(
        state,
        "rig.notice",
        *("--state", str(state.directory), "--node", json.dumps(asdict(node)), "--at", str(done.at + seconds)),
        *("--then", then, "--node-delete-after", str(node_delete_after)),
        log=state.control_plane / "logs" / "notice.log",
    )
    return done


def main() -> None:
    """Wait for the moment that was announced, and do what is to be done then."""
    parser = argparse.ArgumentParser(prog="rig.notice", description=__doc__)
    parser.add_argument("--state", required=True)
    parser.add_argument("--node", required=True, help="a NodeSpec as JSON")
    parser.add_argument("--at", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--then", choices=THENS, required=True)
    parser.add_argument("--node-delete-after", type=float, required=True)
    arguments = parser.parse_args()
    state = State.at(arguments.state)
    node = NodeSpec(**json.loads(arguments.node))
    time.sleep(max(0.0, arguments.at - time.time()))
    if node not in state.nodes():
        print(f"{node.name}: gone, or another machine, before its time", flush=True)
    elif arguments.then == "nothing":
        metadata.announce(state.announcement(node.name), None)
        print(f"{node.name}: notice withdrawn", flush=True)
    else:
        reclaim_node(state, node.name, how=arguments.then, node_delete_after=arguments.node_delete_after)


if __name__ == "__main__":
    main()
