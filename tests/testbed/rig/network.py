"""Network namespaces of a cluster: bridge and router in the control plane's, one for each node, one link to the host.

All forwarding is switched on inside these namespaces only; the host gets one interface and one route.
"""

from __future__ import annotations

import contextlib
import json

from rig import metadata
from rig.addresses import Addresses
from rig.commands import run
from rig.errors import RigError
from rig.state import NodeSpec, host_link, network_namespace

_CONTROL_PLANE = "control-plane"
_FORWARD = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0")


def make_control_plane(addresses: Addresses) -> None:
    """Make the control plane's namespace with the bridge, and the host's link and route into it."""
    index = addresses.index
    namespace, link = network_namespace(index, _CONTROL_PLANE), host_link(index)
    run(["ip", "netns", "add", namespace])
    _set_forwarding(namespace)
    _batch(
        namespace,
        "link set lo up",
        "link add bridge type bridge stp_state 0",
        f"address add {addresses.control_plane}/24 dev bridge",
        "link set bridge up",
    )
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "host", "netns", namespace])
    _batch(namespace, f"address add {addresses.host_gateway}/30 dev host", "link set host up")
    run(["ip", "address", "add", f"{addresses.host}/30", "dev", link])
    run(["ip", "link", "set", link, "up"])
    run(["ip", "route", "add", addresses.network, "via", addresses.host_gateway, "dev", link])


def make_node(addresses: Addresses, node: NodeSpec) -> None:
    """Make a node's namespace, plug it into the bridge and route its pods' network to it."""
    router = network_namespace(addresses.index, _CONTROL_PLANE)
    namespace = network_namespace(addresses.index, node.name)
    port = _port(node)
    run(["ip", "netns", "add", namespace])
    _set_forwarding(namespace)
    run(["ip", "-n", router, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace])
    _batch(
        namespace,
        "link set lo up",
        f"address add {addresses.node(node.number)}/24 dev eth0",
        # Each node has this address for itself, and so have its pods: what they send passes the node.
        f"address add {metadata.ADDRESS}/32 dev lo",
        "link set eth0 up",
        f"route add default via {addresses.control_plane}",
    )
    _batch(
        router,
        f"link set {port} master bridge up",
        f"route replace {addresses.pods_of(node.number)} via {addresses.node(node.number)}",
    )


def unplug(addresses: Addresses, node: NodeSpec) -> None:
    """Take the cable out: not even the ends of connections that its dying processes would send get out."""
    run(["ip", "-n", network_namespace(addresses.index, _CONTROL_PLANE), "link", "set", _port(node), "down"])


def plug_in(addresses: Addresses, node: NodeSpec) -> None:
    """Put the cable back in; its addresses and routes have stayed."""
    run(["ip", "-n", network_namespace(addresses.index, _CONTROL_PLANE), "link", "set", _port(node), "up"])


def is_plugged_in(addresses: Addresses, node: NodeSpec) -> bool:
    """Whether the node's cable is in."""
    router = network_namespace(addresses.index, _CONTROL_PLANE)
    (link,) = json.loads(run(["ip", "-n", router, "-json", "link", "show", "dev", _port(node)]))
    return "UP" in link["flags"]


def remove_namespace(index: int, machine: str) -> None:
    """Remove a machine's namespace, and with it its interfaces, routes and firewall rules; harmless if it is gone."""
    name = network_namespace(index, machine)
    if name not in namespaces(index):
        return
    # Explicitly, since the kernel takes the interfaces of a deleted namespace away some time later, when a successor's
    # may have the same names already.
    with contextlib.suppress(RigError):  # it may have been made only in part
        run(["ip", "-n", name, "link", "delete", "eth0"])
    run(["ip", "netns", "delete", name])


def namespaces(index: int) -> list[str]:
    """Names of the network namespaces of a cluster that exist."""
    names = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines()]
    return [name for name in names if name.startswith(network_namespace(index, ""))]


def remove_host_link(index: int) -> None:
    """Remove the host's interface, and with it the route; harmless if it is gone."""
    if has_host_link(index):
        run(["ip", "link", "delete", host_link(index)])


def has_host_link(index: int) -> bool:
    """Whether the host has the cluster's interface."""
    try:
        run(["ip", "link", "show", "dev", host_link(index)])
    except RigError:
        return False
    return True


def _port(node: NodeSpec) -> str:
    return f"port{node.number}"


def _batch(namespace: str, *commands: str) -> None:
    run(["ip", "-n", namespace, "-batch", "-"], stdin="\n".join(commands) + "\n")


def _set_forwarding(namespace: str) -> None:
    run(["nsenter", f"--net=/run/netns/{namespace}", "sysctl", "-qw", *_FORWARD])
