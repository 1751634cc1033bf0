"""The testbed as one object: what the tests, the demo and the command line use."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rig import (
    cgroups,
    cleanup,
    comeback,
    control_plane,
    images,
    launch,
    network,
    node,
    notice,
    packages,
    pause,
    processes,
    reclaim,
    services,
)
from rig.addresses import MOST_NODES, Addresses
from rig.api import Api, wait_until
from rig.binaries import binaries, cache_directory
from rig.control_plane import ControlPlaneLayout
from rig.daemons import answers, last_lines
from rig.errors import RigError
from rig.machine import MachineSpec
from rig.metadata import Cloud
from rig.progress import Say, say, timed
from rig.state import NodeSpec, State, cgroup, require_visible

CONTROL_PLANE = "control-plane"
_MOST_GPUS = 64
_RESERVED = (CONTROL_PLANE, "cloud", "pod")  # other machines' names, and a word of the command line
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_BINARIES = (*control_plane.BINARIES, *services.BINARIES, *node.BINARIES)


class Testbed:
    """One cluster, found by its state directory; creating the object starts nothing."""

    __test__ = False

    def __init__(self, state: Path | str | None = None, *, report: Say = say) -> None:
        self.state = State.at(state)
        self._report = report

    @classmethod
    def attach(cls, state: Path | str | None = None, *, report: Say = say) -> Testbed:
        """The running cluster with that state directory; raises ``RigError`` where none is up."""
        testbed = cls(state, report=report)
        if not testbed.is_up():
            raise RigError(
                f"no cluster is up with the state directory {testbed.state.directory}; `testbed up` makes one"
            )
        return testbed

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator, good on the host."""
        return self.state.kubeconfig

    @property
    def api(self) -> Api:
        """Client with the administrator's rights."""
        return Api.of(self.kubeconfig)

    @property
    def gcs_endpoint(self) -> str:
        """Endpoint of the object store, the same for pods and the host."""
        return services.objects_url(self.state.addresses)

    @property
    def bucket(self) -> str:
        """Name of the bucket that is there from the start."""
        return services.BUCKET

    @property
    def registry(self) -> str:
        """What image references in pods begin with."""
        return services.REGISTRY_NAME

    @property
    def registry_address(self) -> str:
        """HOST:PORT under which the host pushes images, over plain HTTP."""
        return services.registry_address(self.state.addresses)

    def is_up(self) -> bool:
        """Whether the control plane's machine is on."""
        return self.state.index() is not None and processes.first_of(self.state.directory, CONTROL_PLANE) is not None

    def up(self, *, nodes: int = 5, spot: int = 4, gpus: int = 1, cloud: Cloud = "gce") -> None:
        """Make the cluster, or what is missing of it: ``spot`` spot nodes with ``gpus`` GPUs each, and plain ones.

        ``nodes`` counts both kinds; ``cloud`` is the one whose metadata server they have. Nodes that are there already
        stay as they are. Returns when the API server is ready, every node is Ready and all GPUs are counted.
        """
        if not 0 <= nodes <= MOST_NODES:
            raise RigError(f"--nodes {nodes} is not between 0 and {MOST_NODES}")
        if not 0 <= spot <= nodes:
            raise RigError(f"--spot {spot} is not between 0 and --nodes {nodes}")
        _check_gpus(gpus)
        packages.require_root_on_linux("`testbed up`")
        packages.require_dbus_library()
        require_visible(cache_directory(), "the cache (see XDG_CACHE_HOME)")
        require_visible(Path(sys.prefix), "the Python environment")
        require_visible(Path(__file__), "the repository")
        packages.install(packages.FOR_THE_CLUSTER, report=self._report)
        programs = binaries(_BINARIES, report=self._report)
        with timed("cluster is up", report=self._report):
            if not self.is_up():
                self._start_control_plane(programs)
            wanted = [(f"spot-{i + 1}", True, gpus) for i in range(spot)]
            wanted += [(f"node-{i + 1}", False, 0) for i in range(nodes - spot)]
            self._start_nodes(wanted, programs, cloud=cloud)

    def add(self, name: str, *, spot: bool = True, gpus: int = 1, cloud: Cloud = "gce") -> None:
        """Join one more node to the running cluster and wait until it is Ready."""
        if name in _RESERVED or not _NODE_NAME.fullmatch(name):
            raise RigError(
                f"node name {name!r} is not lower-case letters, digits and hyphens (40 at most), or is reserved"
            )
        _check_gpus(gpus)
        if any(spec.name == name for spec in self.state.nodes()):
            raise RigError(f"node {name!r} is there already")
        programs = binaries(_BINARIES, report=self._report)
        with timed(f"{name} has joined", report=self._report):
            self._start_nodes([(name, spot, gpus)], programs, cloud=cloud)

    def down(self) -> None:
        """Remove everything; raises ``RigError`` naming what would not go."""
        packages.require_root_on_linux("`testbed down`")
        left = cleanup.remove_cluster(self.state)
        if left:
            raise RigError("could not remove:\n" + "\n".join(f"  {what}" for what in left))

    def announce(
        self,
        name: str,
        *,
        then: notice.Then = "shutdown",
        after: float | None = None,
        node_delete_after: float = reclaim.NODE_DELETE_AFTER_SECONDS,
        cloud: Cloud | None = None,
    ) -> reclaim.Reclaim:
        """Have a node's cloud announce its reclaim; see ``rig.notice.announce_reclaim``."""
        return notice.announce_reclaim(
            self.state, name, then=then, after=after, node_delete_after=node_delete_after, cloud=cloud
        )

    def reclaim(
        self, name: str, *, how: reclaim.How, node_delete_after: float = reclaim.NODE_DELETE_AFTER_SECONDS
    ) -> reclaim.Reclaim:
        """Take a node away; see ``rig.reclaim.reclaim_node``."""
        return reclaim.reclaim_node(self.state, name, how=how, node_delete_after=node_delete_after, report=self._report)

    def heal(self, name: str) -> None:
        """Reconnect a partitioned node; see ``rig.comeback.heal_node``."""
        comeback.heal_node(self.state, name)

    def replace(self, name: str, *, keep_object: bool = False) -> None:
        """Put another machine in the place of a node's, which goes first if it is there, and wait until it is Ready.

        It has the name, the labels and the GPUs of the one before, an empty disk and another boot id. Its Node object
        is another one, too, unless that of the machine before is still there and is kept: so fast are some clouds.
        """
        old = self.state.last_of(name)
        if old is None:
            known = ", ".join(spec.name for spec in self.state.nodes())
            raise RigError(f"there never was a node {name!r}; nodes are: {known or 'none'}")
        programs = binaries(_BINARIES, report=self._report)
        with timed(f"{name} is another machine", report=self._report):
            for spec in self.state.nodes():
                if spec.name == name:
                    network.unplug(self.state.addresses, spec)
                    cleanup.remove_machine(self.state, spec)
            if not keep_object:
                self.api.delete(f"/api/v1/nodes/{name}")
            self._start_nodes([(name, old.spot, old.gpus)], programs, cloud=old.cloud, keep_objects=keep_object)

    def reboot(self, name: str) -> None:
        """Reset a node's machine where it stands, and wait until it is Ready; see ``rig.comeback.reboot_node``."""
        with timed(f"{name} has booted anew", report=self._report):
            comeback.reboot_node(self.state, name)
            self._wait_until_ready({spec.name: spec for spec in self.state.nodes() if spec.name == name})

    def reclaim_pod(self, name: str, *, namespace: str = "default") -> float:
        """Delete a pod raw; return when, in seconds since the epoch."""
        return reclaim.reclaim_pod(self.state, name, namespace=namespace)

    def push_images(self, *names: str) -> dict[str, str]:
        """Build and push the project's images of those names (all, for none); return what pods call them, by name."""
        pushed = images.push(images.named(names), registry_address=self.registry_address, report=self._report)
        return {name: image.reference for name, image in pushed.items()}

    def status(self) -> dict[str, Any]:
        """What there is, ready to be printed as JSON."""
        if not self.is_up():
            return {"up": False, "state": str(self.state.directory), "leftovers": cleanup.leftovers(self.state)}
        objects = {item["metadata"]["name"]: item for item in self.api.get("/api/v1/nodes")["items"]}
        machines = set(processes.of_cluster(self.state.directory).values())
        return {
            "up": True,
            "state": str(self.state.directory),
            "api_server": self.api.server,
            "kubeconfig": str(self.kubeconfig),
            "registry": self.registry,
            "registry_address": self.registry_address,
            "gcs_endpoint": self.gcs_endpoint,
            "bucket": self.bucket,
            "nodes": [_node_status(objects[name], is_on=name in machines) for name in sorted(objects)],
        }

    def _start_control_plane(self, programs: dict[str, Path]) -> None:
        # A cluster whose control plane is off has lost its etcd's process: what is left of it cannot be used again.
        left = cleanup.remove_cluster(self.state)
        if left:
            raise RigError("an earlier cluster could not be removed:\n" + "\n".join(f"  {what}" for what in left))
        addresses = Addresses(self.state.claim())
        directory = self.state.control_plane
        directory.mkdir(parents=True)
        layout = _layout(self.state, addresses)
        network.make_control_plane(addresses)
        control_plane.prepare_files(layout)
        daemons = [
            control_plane.etcd(layout, programs["etcd"]),
            control_plane.api_server(layout, programs["kube-apiserver"], reaches_nodes=True),
            control_plane.controller_manager(layout, programs["kube-controller-manager"]),
            control_plane.scheduler(layout, programs["kube-scheduler"]),
            *services.daemons(addresses, layout=layout, directory=directory, programs=programs),
        ]
        spec = MachineSpec(name=CONTROL_PLANE, logs=str(directory / "logs"), daemons=daemons)
        launch.switch_on(self.state, spec, index=addresses.index, directory=directory)

    def _start_nodes(
        self,
        wanted: Sequence[tuple[str, bool, int]],
        programs: dict[str, Path],
        *,
        cloud: Cloud,
        keep_objects: bool = False,
    ) -> None:
        on = set(processes.of_cluster(self.state.directory).values())
        known = {spec.name: spec for spec in self.state.nodes()}
        missing = [each for each in wanted if each[0] not in on]
        for name in {name for name, _, _ in missing} & known.keys():
            cleanup.remove_machine(self.state, known[name])  # it died, or was only half made
        made = [self.state.remember(name, spot=spot, gpus=gpus, cloud=cloud) for name, spot, gpus in missing]
        if on - {CONTROL_PLANE} and not keep_objects:
            for spec in made:
                self.api.delete(f"/api/v1/nodes/{spec.name}")  # of a dead machine: the new one is another incarnation
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda spec: self._start_node(spec, programs), made))
        addresses = self.state.addresses
        wait_until(
            lambda: self.kubeconfig.exists() and self.api.is_ready(),
            what="the API server to become ready",
            seconds=90,
            clue=lambda: last_lines(self.state.control_plane / "logs" / "kube-apiserver.log"),
        )
        self._report(f"  API server is ready: {self.api.server}")
        for url in (services.registry_url(addresses), services.objects_url(addresses)):
            wait_until(lambda url=url: answers(url.partition("//")[2]), what=url, seconds=30)  # type: ignore[misc]
        services.make_bucket(addresses)
        pause.push(programs["pause"], registry=services.registry_url(addresses))
        expected = {name: known[name] for name, _, _ in wanted if name in on} | {spec.name: spec for spec in made}
        self._wait_until_ready(expected)
        wait_until(self._takes_pods, what="the default service account", seconds=60)

    def _wait_until_ready(self, expected: dict[str, NodeSpec]) -> None:
        wait_until(
            lambda: self._are_ready(expected),
            what=f"nodes {', '.join(expected)} to become Ready",
            seconds=120,
            every=0.25,
            clue=lambda: "\n".join(
                last_lines(self.state.machines / name / "logs" / "kubelet.log") for name in expected
            ),
        )

    def _takes_pods(self) -> bool:
        # The last that the controller manager does for a new namespace; a pod is refused before.
        accounts = self.api.get("/api/v1/namespaces/default/serviceaccounts")["items"]
        return any(account["metadata"]["name"] == "default" for account in accounts)

    def _start_node(self, spec: NodeSpec, programs: dict[str, Path]) -> None:
        addresses = self.state.addresses
        directory = self.state.machines / spec.name
        network.make_node(addresses, spec)
        cgroups.create(cgroup(addresses.index, spec.name))
        machine = node.machine_of(
            spec,
            directory=directory,
            addresses=addresses,
            layout=_layout(self.state, addresses),
            programs=programs,
            pause_image=pause.reference(programs["pause"]),
            announcement=self.state.announcement(spec.name),
        )
        launch.switch_on(self.state, machine, index=addresses.index, directory=directory)

    def _are_ready(self, expected: dict[str, NodeSpec]) -> bool:
        objects = {item["metadata"]["name"]: item for item in self.api.get("/api/v1/nodes")["items"]}
        return all(
            name in objects
            and _is_ready(objects[name])
            and _gpus(objects[name]) == spec.gpus
            # Of a machine whose Node object was kept the object says for a while how the one before was.
            and objects[name]["status"]["nodeInfo"]["bootID"] == self._boot_id(name)
            for name, spec in expected.items()
        )

    def _boot_id(self, name: str) -> str:
        return node.boot_id_file(self.state.machines / name).read_text().strip()


def _check_gpus(gpus: int) -> None:
    if not 0 <= gpus <= _MOST_GPUS:
        raise RigError(f"--gpus {gpus} is not between 0 and {_MOST_GPUS}")


def _layout(state: State, addresses: Addresses) -> ControlPlaneLayout:
    return ControlPlaneLayout(
        directory=state.control_plane,
        address=addresses.control_plane,
        api_port=6443,
        etcd_port=2379,
        etcd_peer_port=2380,
        controllers_port=10257,
        scheduler_port=10259,
        service_cidr=addresses.services,
        first_service_address=addresses.first_service,
    )


def _is_ready(item: dict[str, Any]) -> bool:
    # The taint goes only when the controller manager has seen the condition; until then no pod is scheduled there.
    is_waiting = any(taint["key"] == "node.kubernetes.io/not-ready" for taint in item["spec"].get("taints", []))
    conditions = item["status"].get("conditions", [])
    return not is_waiting and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _gpus(item: dict[str, Any]) -> int:
    return int(item["status"].get("allocatable", {}).get(node.GPU_RESOURCE, "0"))


def _node_status(item: dict[str, Any], *, is_on: bool) -> dict[str, Any]:
    metadata = item["metadata"]
    return {
        "name": metadata["name"],
        "uid": metadata["uid"],
        "ready": _is_ready(item),
        "schedulable": not item["spec"].get("unschedulable", False),
        "spot": metadata["labels"].get(node.SPOT_LABEL) == "true",
        "gpus": _gpus(item),
        "machine_on": is_on,
    }
