"""The main job: a sweep on spot nodes that loses nodes and pods, finishes, and is held against an undisturbed run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rig import RigError
from trial.cluster import Refused, wait_until
from trial.ground import Ground, given_ground, install_operator, local_ground
from trial.observer import Observer
from trial.screen import Screen
from trial.script import Strike, after_items, strike
from trial.sweep import Sweep, manifest_of
from trial.verdict import Verdict, verdict_on

REPORT = Path("build/demo/report.json")
FILE = "results.jsonl"
NAMESPACE = "sweep-demo"
# Spot nodes enough that three pods still find room after three nodes are gone, and one that the operator can rely on.
_SPOT_NODES = 6
_SCHEDULE = ((8, "kill"), (16, "notice"), (28, "shutdown"), (38, "delete-pod"))
_MOST_DONE = 6
"""Of the ten items of a shard: one with more to its name could finish within its grace."""
_MINUTES = 15


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit status: 0 only if nothing was lost, duplicated or unequal."""
    options = _options(arguments)
    screen = Screen()
    try:
        ground = _ground(options, screen)
        if ground is None:
            return 2
        try:
            verdict = _run(ground, screen)
        finally:
            ground.faults.tidy()
            if ground.testbed is not None and not options.keep:
                screen.say("taking the local cluster down (--keep would leave it)")
                ground.testbed.down()
    except (RigError, Refused, RuntimeError, TimeoutError) as error:
        screen.say(f"demo: {error}")
        return 1
    screen.verdict(verdict, REPORT)
    return 0 if verdict.holds else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the local cluster up afterwards")
    parser.add_argument("--yes", action="store_true", help="do not ask before nodes of the given cluster are touched")
    given = parser.add_argument_group("with KUBECONFIG set: the cluster that it names is used")
    given.add_argument("--registry", default="", help="registry and path from which the cluster pulls the images")
    given.add_argument("--tag", default="latest", help="tag of the images (default: latest)")
    given.add_argument("--store", default="", help="folder for the checkpoints, such as gs://BUCKET/FOLDER")
    given.add_argument(
        "--kill-command", default="", help="ends a node without warning, {node} is its name (else: kubectl delete node)"
    )
    given.add_argument(
        "--shutdown-command", default="", help="powers a node off, {node} is its name (else: kubectl drain)"
    )
    given.add_argument(
        "--notice-command", default="", help="has the cloud announce a node's end, {node} is its name (else: left out)"
    )
    return parser.parse_args(arguments)


def _ground(options: argparse.Namespace, screen: Screen) -> Ground | None:
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        screen.say("no KUBECONFIG: a real cluster of this project's own comes up on this machine (Linux, as root)")
        return local_ground(nodes=_SPOT_NODES + 1, spot=_SPOT_NODES, experiment="digits")
    for name in ("registry", "store"):
        if not getattr(options, name):
            screen.say(
                f"--{name} is missing: the cluster of KUBECONFIG needs it, see docs/tasks/demo-on-your-cluster.md"
            )
            return None
    screen.say(f"on the cluster of {kubeconfig} one node will be taken away and another one drained or shut down")
    if not options.yes and not screen.agreed("touch its nodes?"):
        return None
    return given_ground(
        kubeconfig=Path(kubeconfig),
        registry=options.registry,
        tag=options.tag,
        store=options.store,
        kill_command=options.kill_command,
        shutdown_command=options.shutdown_command,
        notice_command=options.notice_command,
    )


def _run(ground: Ground, screen: Screen) -> Verdict:
    with screen.step("installing the operator with Helm"):
        install_operator(ground)
    cluster = ground.cluster()
    sweep = Sweep(cluster, namespace=NAMESPACE, name="digits")
    reference = Sweep(cluster, namespace=NAMESPACE, name="digits-undisturbed")
    for each in (sweep, reference):
        each.delete()
        wait_until(each.is_gone, what="an earlier run to go", seconds=330)
    screen.say("kubectl apply -f examples/digits/sweep.yaml")
    started = time.monotonic()
    sweep.apply(manifest_of(ground, name=sweep.name, namespace=NAMESPACE))
    observer = Observer(sweep)
    strikes = _disturb(sweep, ground, observer, screen)
    screen.follow(sweep, until=lambda: sweep.status().get("phase") in ("Complete", "Failed"), minutes=_MINUTES)
    wall = time.monotonic() - started
    _require_complete(sweep)
    screen.say("the same sweep once more, undisturbed, to compare with")
    reference.apply(manifest_of(ground, name=reference.name, namespace=NAMESPACE))
    screen.follow(reference, until=lambda: reference.status().get("phase") in ("Complete", "Failed"), minutes=_MINUTES)
    _require_complete(reference)
    verdict = verdict_on(sweep, reference, ground, observer=observer, strikes=strikes, file=FILE, wall_s=wall)
    observer.close()
    verdict.write(REPORT)
    return verdict


def _disturb(sweep: Sweep, ground: Ground, observer: Observer, screen: Screen) -> list[Strike]:
    strikes: list[Strike] = []
    for done, how in _SCHEDULE:
        if how == "notice" and not ground.faults.can_announce:
            continue
        screen.follow(sweep, until=after_items(sweep, done), minutes=_MINUTES)
        if sweep.status().get("phase") in ("Complete", "Failed"):
            break
        done_now = strike(
            sweep, ground, observer, how=how, spare=[each.node for each in strikes], at_most_done=_MOST_DONE
        )
        pods = ", ".join(f"shard {seen.shard} (attempt {seen.attempt})" for seen in done_now.attempts)
        screen.alarm(f"{done_now.how}: node {done_now.node}, running {pods}")
        strikes.append(done_now)
    return strikes


def _require_complete(sweep: Sweep) -> None:
    status = sweep.status()
    if status.get("phase") != "Complete":
        raise RuntimeError(f"sweep {sweep.name} did not complete: {status}")


if __name__ == "__main__":
    sys.exit(main())
