"""A stand-in for the cloud's node controller: deletes the Node object of a machine that is gone, some time afterwards.

Runs as a process of its own, so that `testbed reclaim` returns while the reclaim takes its course.
"""

from __future__ import annotations

import argparse
import json
import threading
import time

from rig import cleanup, processes
from rig.api import Api, ApiError
from rig.state import NodeSpec, State

_LONGEST_SHUTDOWN_SECONDS = 90.0


def delete_node_object(api: Api, name: str, *, uid: str) -> None:
    """Delete the Node unless it is gone, or another incarnation of that name has come."""
    try:
        api.delete(f"/api/v1/nodes/{name}", {"preconditions": {"uid": uid}})
    except ApiError as error:
        if error.status != 409:
            raise


def main() -> None:
    """Wait for the machine's end, remove its remains, wait for the delay and delete the Node."""
    parser = argparse.ArgumentParser(prog="rig.cloud", description=__doc__)
    parser.add_argument("--state", required=True)
    parser.add_argument("--node", required=True, help="a NodeSpec as JSON")
    parser.add_argument("--uid", required=True, help="of its Node object; empty where it never had one")
    parser.add_argument("--after", type=float, required=True, help="seconds from the machine's end")
    arguments = parser.parse_args()
    state = State.at(arguments.state)
    node = NodeSpec(**json.loads(arguments.node))
    deadline = time.monotonic() + _LONGEST_SHUTDOWN_SECONDS
    while processes.first_of(state.directory, node.name) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    ended = time.monotonic()
    print(f"{node.name}: machine is off", flush=True)
    # Beside the delay, not before it: a disk full of images takes its time to be emptied.
    remains = threading.Thread(target=cleanup.remove_machine, args=(state, node))
    remains.start()
    time.sleep(max(0.0, ended + arguments.after - time.monotonic()))
    if state.last_of(node.name) != node:
        # A machine of that name runs again or soon will, perhaps under the same Node object: no cloud deletes that.
        print(f"{node.name}: another machine has the name, and its Node object", flush=True)
    elif arguments.uid:
        delete_node_object(Api.of(state.kubeconfig), node.name, uid=arguments.uid)
        print(f"{node.name}: Node object deleted", flush=True)
    remains.join()


if __name__ == "__main__":
    main()
