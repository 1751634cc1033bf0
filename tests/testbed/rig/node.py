"""What runs on a node: containerd, kubelet, kube-proxy and a plug-in for its GPUs, with their configuration."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rig import metadata
from rig.addresses import Addresses
from rig.control_plane import ControlPlaneLayout, client_kubeconfig
from rig.daemons import Daemon
from rig.errors import RigError
from rig.machine import MachineSpec
from rig.services import REGISTRY_NAME, registry_url
from rig.state import NodeSpec, cgroup

BINARIES = ("kubelet", "kube-proxy", "gpu-device-plugin")
SPOT_LABEL = "cloud.google.com/gke-spot"
GPU_RESOURCE = "nvidia.com/gpu"
_CNI_PROGRAMS = "/usr/lib/cni"
_CONTAINERD = "/run/containerd/containerd.sock"


def machine_of(
    node: NodeSpec,
    *,
    directory: Path,
    addresses: Addresses,
    layout: ControlPlaneLayout,
    programs: Mapping[str, Path],
    pause_image: str,
    announcement: Path,
) -> MachineSpec:
    """Write a node's configuration into ``directory`` and return the machine that runs it."""
    lib, log, logs = directory / "lib", directory / "log", directory / "logs"
    for each in (lib / "kubelet" / "device-plugins", log, logs, directory / "cni"):
        each.mkdir(parents=True, exist_ok=True)
    kernel = directory / "kernel"
    kernel.mkdir(exist_ok=True)
    boot = {"/proc/sys/kernel/random/boot_id": str(boot_id_file(directory))}  # else all nodes had the host's
    _write_containerd(directory, addresses, pause_image)
    _write_network(directory, addresses, node)
    kubeconfig = client_kubeconfig(
        layout, name=f"node-{node.name}", common_name=f"system:node:{node.name}", groups=["system:nodes"]
    )
    proxy = client_kubeconfig(layout, name=f"proxy-{node.name}", common_name="system:kube-proxy")
    address = addresses.node(node.number)
    (directory / "kubelet.json").write_text(json.dumps(_kubelet(node, addresses, layout), indent=1))
    (directory / "kube-proxy.json").write_text(json.dumps(_kube_proxy(node, addresses, proxy), indent=1))
    daemons = [
        Daemon(name="containerd", argv=[_program("containerd"), f"--config={directory / 'containerd.toml'}"]),
        Daemon(
            name="kubelet",
            argv=[
                str(programs["kubelet"]),
                f"--config={directory / 'kubelet.json'}",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={node.name}",
                f"--node-ip={address}",
                f"--node-labels={','.join(f'{k}={v}' for k, v in labels(node).items())}",
            ],
            after=[_CONTAINERD, f"{layout.server}/readyz"],
        ),
        Daemon(
            name="kube-proxy",
            argv=[str(programs["kube-proxy"]), f"--config={directory / 'kube-proxy.json'}"],
            after=[f"{layout.server}/readyz"],
        ),
        _metadata_server(node, announcement),
    ]
    if node.gpus:
        plugin = [str(programs["gpu-device-plugin"]), f"-resource={GPU_RESOURCE}", f"-count={node.gpus}"]
        daemons.append(Daemon(name="gpu-device-plugin", argv=plugin))
    boot_anew(directory)
    return MachineSpec(
        name=node.name,
        logs=str(logs),
        daemons=daemons,
        # Its own /var/lib, /var/log and /run let every program keep its usual paths. The kubelet also sets three kernel
        # settings that hold for the whole host: it finds files of the node's own in their place.
        binds={"/var/lib": str(lib), "/var/log": str(log), **_kernel_settings(kernel), **boot},
        fresh=["/run"],
        login_manager=True,
    )


def boot_anew(directory: Path) -> None:
    """Give the machine the identity of another boot, which its kubelet publishes."""
    boot_id_file(directory).write_text(f"{uuid.uuid4()}\n")


def boot_id_file(directory: Path) -> Path:
    """File that the kubelet of that machine finds where the kernel says which boot it is."""
    return directory / "kernel" / "boot_id"


def _metadata_server(node: NodeSpec, announcement: Path) -> Daemon:
    metadata.announce(announcement, None)
    words = ["--cloud", node.cloud, "--node", node.name, "--file", str(announcement)]
    return Daemon(name="metadata", argv=[sys.executable, "-m", "rig.metadata", *words])


def labels(node: NodeSpec) -> dict[str, str]:
    """Labels as GKE sets them on nodes of such a pool."""
    pool = "spot" if node.spot else "default"
    found = {"cloud.google.com/gke-nodepool": pool, "topology.kubernetes.io/zone": "testbed-a"}
    if node.spot:
        found[SPOT_LABEL] = "true"
    if node.gpus:
        found["cloud.google.com/gke-accelerator"] = "nvidia-testbed"
    return found


def taints(node: NodeSpec) -> list[dict[str, str]]:
    """Taints as on a spot pool that was made with one, and as GKE sets on nodes with GPUs."""
    found = []
    if node.spot:
        found.append({"key": SPOT_LABEL, "value": "true", "effect": "NoSchedule"})
    if node.gpus:
        found.append({"key": GPU_RESOURCE, "value": "present", "effect": "NoSchedule"})
    return found


def _kubelet(node: NodeSpec, addresses: Addresses, layout: ControlPlaneLayout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.node(node.number),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [addresses.control_plane],
        "clusterDomain": "cluster.local",
        "resolvConf": "",  # the host's name servers cannot be reached from here
        "containerRuntimeEndpoint": f"unix://{_CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup(addresses.index, node.name)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "registerWithTaints": taints(node),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 100,
        "serializeImagePulls": False,
        # As GKE has it for spot nodes: ordinary pods get 15 s of the 30 s notice.
        "shutdownGracePeriod": "30s",
        "shutdownGracePeriodCriticalPods": "15s",
        # Half of the default, so that the shorter grace of the controller manager leaves as many renewals to miss.
        "nodeLeaseDurationSeconds": 20,
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "5m",
        # All nodes share the host's disk and memory, which they do not have for themselves: what the host holds is not
        # a reason to evict a pod, and images are needed again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _kube_proxy(node: NodeSpec, addresses: Addresses, kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "bindAddress": addresses.node(node.number),
        "clusterCIDR": addresses.pods,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0, "min": 0},  # that table is the host's
    }


def _write_containerd(directory: Path, addresses: Addresses, pause_image: str) -> None:
    certificates = directory / "registries"
    hosts = certificates / REGISTRY_NAME
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(f'[host."{registry_url(addresses)}"]\n  capabilities = ["pull", "resolve"]\n')
    (directory / "containerd.toml").write_text(
        f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{_CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Without CAP_SYS_RESOURCE, as in many sandboxes, no process may lower its own score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PROGRAMS}"
    conf_dir = "{directory / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certificates}"
"""
    )


def _write_network(directory: Path, addresses: Addresses, node: NodeSpec) -> None:
    # Point to point rather than a bridge: all traffic of pods is routed, and so passes the rules of kube-proxy, also
    # between two pods of one node.
    ptp = {
        "type": "ptp",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": addresses.pods_of(node.number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    config = {"cniVersion": "1.0.0", "name": "testbed", "plugins": [ptp]}
    (directory / "cni" / "10-testbed.conflist").write_text(json.dumps(config, indent=1))


def _kernel_settings(directory: Path) -> dict[str, str]:
    binds = {}
    for place, value in {
        "/proc/sys/vm/overcommit_memory": "1",
        "/proc/sys/kernel/panic": "10",
        "/proc/sys/kernel/panic_on_oops": "1",
    }.items():
        file = directory / place.rpartition("/")[2]
        file.write_text(f"{value}\n")
        binds[place] = str(file)
    return binds


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RigError(f"program {name!r} is not installed; `testbed prepare` installs what the testbed needs")
    return path
