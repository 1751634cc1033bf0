"""The command `testbed`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rig import images, metadata, notice, packages, reclaim
from rig.binaries import NAMES, binaries, binary
from rig.cluster import Testbed
from rig.errors import RigError
from rig.progress import say
from rig.recording import Recorder
from rig.state import directories


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    given, words = _split_off_kubectl(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    options.words = words
    try:
        return int(options.run(Testbed(options.state), options) or 0)
    except RigError as error:
        say(f"testbed: {error}")
        return 1
    except KeyboardInterrupt:
        say("testbed: interrupted; what was made so far is removed by `testbed down`")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="testbed", description="A real Kubernetes cluster on this machine, without Docker. Needs Linux and root."
    )
    parser.add_argument("--state", help="directory of the cluster's files (default: TESTBED_STATE, or in ~/.cache)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="make the cluster, or what is missing of it")
    up.add_argument("--nodes", type=int, default=5, metavar="N", help="how many nodes in all (default: 5)")
    up.add_argument("--spot", type=int, default=4, metavar="M", help="how many of them are spot nodes (default: 4)")
    up.add_argument("--gpus", type=int, default=1, metavar="K", help="GPUs of each spot node (default: 1)")
    _add_cloud(up, "whose metadata server new nodes have")
    up.set_defaults(run=lambda t, o: t.up(nodes=o.nodes, spot=o.spot, gpus=o.gpus, cloud=o.cloud))

    down = commands.add_parser("down", help="remove all of it, also after a crash")
    down.add_argument("--all", action="store_true", help="every cluster on this machine, whatever its --state")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="say what is there")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

    kubeconfig = commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    kubeconfig.set_defaults(run=lambda t, o: print(Testbed.attach(o.state).kubeconfig))

    add = commands.add_parser("add", help="join one more node")
    add.add_argument("node")
    add.add_argument("--spot", action="store_true", help="a spot node")
    add.add_argument("--gpus", type=int, default=0, metavar="K", help="its GPUs (default: 0)")
    _add_cloud(add, "whose metadata server it has")
    add.set_defaults(run=lambda t, o: Testbed.attach(o.state).add(o.node, spot=o.spot, gpus=o.gpus, cloud=o.cloud))

    take = commands.add_parser("reclaim", help="take away a node, or a pod: reclaim NODE --how HOW, reclaim pod NAME")
    take.add_argument("what", nargs="+", metavar="NODE | pod NAME")
    take.add_argument(
        "--how",
        choices=(*reclaim.HOWS, "notice"),
        default="kill",
        help="how a node goes (default: kill); notice: announced by its metadata server first",
    )
    take.add_argument("--then", choices=notice.THENS, help="after a notice (default: shutdown); nothing: withdraw it")
    take.add_argument(
        "--after",
        type=float,
        metavar="SECONDS",
        help="from a notice to that (default: as long as the node's cloud gives)",
    )
    take.add_argument("-n", "--namespace", default="default", help="of the pod (default: default)")
    take.add_argument("--cloud", choices=metadata.CLOUDS, help="of a notice: refused where the node's is another one")
    take.add_argument(
        "--node-delete-after",
        type=float,
        default=reclaim.NODE_DELETE_AFTER_SECONDS,
        metavar="SECONDS",
        help="from the machine's end to the deletion of its Node object (default: %(default)s)",
    )
    take.set_defaults(run=_reclaim)

    heal = commands.add_parser("heal", help="reconnect a node that `reclaim NODE --how partition` has cut off")
    heal.add_argument("node")
    heal.set_defaults(run=lambda t, o: Testbed.attach(o.state).heal(o.node))

    replace = commands.add_parser("replace", help="put another machine in the place of a node's, under its name")
    replace.add_argument("node")
    replace.add_argument(
        "--keep-object",
        action="store_true",
        help="keep the Node object, if it is still there: only the boot id changes",
    )
    replace.set_defaults(run=lambda t, o: Testbed.attach(o.state).replace(o.node, keep_object=o.keep_object))

    reboot = commands.add_parser("reboot", help="reset a node's machine where it stands, with its disk and Node object")
    reboot.add_argument("node")
    reboot.set_defaults(run=lambda t, o: Testbed.attach(o.state).reboot(o.node))

    record = commands.add_parser("record", help="write down what the API shows of a node and its pods, and when")
    record.add_argument("node")
    record.add_argument("file", type=Path, help="is written when the time is over: JSON")
    record.add_argument("--seconds", type=int, default=120, metavar="S", help="how long (default: %(default)s)")
    record.set_defaults(run=_record)

    image = commands.add_parser("images", help="build or push the project's images")
    image.add_argument("action", choices=("build", "push"), help="push builds, too, what is not there")
    known = ", ".join(each.name for each in images.IMAGES)
    image.add_argument("names", nargs="*", metavar="NAME", help=f"{known} (default: all)")
    image.set_defaults(run=_images)

    prepare = commands.add_parser("prepare", help="install Debian packages and build the Go programs, where missing")
    prepare.set_defaults(run=_prepare)

    show = commands.add_parser("bin", help="print the path of one of the programs, built if need be")
    show.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    show.set_defaults(run=lambda t, o: print(binary(o.name)))

    kubectl = commands.add_parser(
        "kubectl", help="run kubectl on the cluster: all that follows is for it", add_help=False
    )
    kubectl.set_defaults(run=_kubectl)
    return parser


def _add_cloud(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--cloud", choices=metadata.CLOUDS, default="gce", help=f"{what} (default: gce)")


def _split_off_kubectl(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    # Before argparse sees them: it would take kubectl's options for its own.
    first = 2 if arguments[:1] == ["--state"] else int(any(word.startswith("--state=") for word in arguments[:1]))
    if arguments[first : first + 1] == ["kubectl"]:
        return arguments[: first + 1], arguments[first + 1 :]
    return arguments, []


def _status(testbed: Testbed, options: argparse.Namespace) -> int:
    status = testbed.status()
    if options.json:
        print(json.dumps(status, indent=1))
        return 0
    if not status["up"]:
        print("no cluster is up" + "".join(f"\nleft over: {what}" for what in status["leftovers"]))
        return 0
    for name in ("api_server", "kubeconfig", "registry", "registry_address", "gcs_endpoint", "bucket"):
        print(f"{name:18}{status[name]}")
    for node in status["nodes"]:
        kind = "spot" if node["spot"] else "plain"
        ready = "Ready" if node["ready"] else "NotReady"
        cordoned = "" if node["schedulable"] else "  cordoned"
        print(f"{node['name']:18}{kind:7}{ready:10}{node['gpus']} GPU{cordoned}")
    return 0


def _down(testbed: Testbed, options: argparse.Namespace) -> int:
    for each in [Testbed(directory) for directory in directories()] if options.all else [testbed]:
        each.down()
    return 0


def _reclaim(testbed: Testbed, options: argparse.Namespace) -> int:
    testbed = Testbed.attach(options.state)
    match options.what:
        case ["pod", name]:
            print(json.dumps({"pod": name, "at": testbed.reclaim_pod(name, namespace=options.namespace)}))
        case [node] if options.how == "notice":
            then: notice.Then = options.then or "shutdown"
            done = testbed.announce(
                node,
                then=then,
                after=options.after,
                node_delete_after=options.node_delete_after,
                cloud=options.cloud,
            )
            print(json.dumps(asdict(done)))
        case [node] if options.then is None and options.after is None and options.cloud is None:
            done = testbed.reclaim(node, how=options.how, node_delete_after=options.node_delete_after)
            print(json.dumps(asdict(done)))
        case [_]:
            raise RigError(
                f"--then, --after and --cloud are about a notice, and --how is {options.how}: use --how notice"
            )
        case words:
            raise RigError(f"cannot reclaim {' '.join(words)!r}: say `reclaim NODE` or `reclaim pod NAME`")
    return 0


def _record(testbed: Testbed, options: argparse.Namespace) -> None:
    recorder = Recorder(Testbed.attach(options.state).api, seconds=options.seconds)
    recorder.wait()
    steps = recorder.steps(node=options.node)
    if not steps:
        raise RigError(f"nothing was to be seen of a node {options.node!r}")
    options.file.write_text(json.dumps({"began": recorder.began, "steps": steps}, indent=1))


def _images(testbed: Testbed, options: argparse.Namespace) -> int:
    if options.action == "push":
        references = Testbed.attach(options.state).push_images(*options.names)
    else:
        built = images.build(images.named(options.names))
        references = {name: image.reference for name, image in built.items()}
    for name, reference in references.items():
        print(f"{name:12}{reference}")
    return 0


def _prepare(testbed: Testbed, options: argparse.Namespace) -> int:
    packages.require_root_on_linux("`testbed prepare`")
    packages.install({**packages.FOR_THE_CLUSTER, **packages.FOR_IMAGES})
    binaries(NAMES)
    say("everything is there")
    return 0


def _kubectl(testbed: Testbed, options: argparse.Namespace) -> int:
    kubeconfig = Testbed.attach(options.state).kubeconfig
    kubectl = binary("kubectl")
    sys.stdout.flush()
    os.execve(kubectl, ["kubectl", *options.words], {**os.environ, "KUBECONFIG": str(kubeconfig)})


if __name__ == "__main__":
    sys.exit(main())
