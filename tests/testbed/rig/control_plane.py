"""etcd, API server, controller manager and scheduler: as command lines, and as a context manager for tests."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from rig.api import Api, wait_until
from rig.binaries import binaries
from rig.certificates import Authority
from rig.daemons import Daemon, answers, last_lines
from rig.progress import Say, keep_quiet

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, kw_only=True)
class ControlPlaneLayout:
    """Where one control plane keeps its files and listens; ``hosts`` are further names its certificate is good for."""

    directory: Path
    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    controllers_port: int
    scheduler_port: int
    service_cidr: str
    first_service_address: str
    hosts: Sequence[str] = ()

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def authority(self) -> Authority:
        """Who signs this cluster's certificates."""
        return Authority(self.directory / "pki")

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator: self-contained, with a bearer token."""
        return self.directory / "kubeconfig"

    @property
    def etcd_url(self) -> str:
        """Where etcd serves clients: loopback, or inside the control plane's own network namespace."""
        return f"http://127.0.0.1:{self.etcd_port}"


def prepare_files(layout: ControlPlaneLayout) -> None:
    """Write keys, certificates, tokens and kubeconfigs; what is there stays, so that a second start changes nothing."""
    authority = layout.authority
    authority.create()
    authority.sign_key_pair("service-accounts")
    authority.sign(
        "apiserver",
        common_name="kube-apiserver",
        hosts=[
            *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
            *("localhost", "127.0.0.1", layout.address, layout.first_service_address, *layout.hosts),
        ],
    )
    # The API server proves itself with this to kubelets, for logs and exec.
    authority.sign("apiserver-to-kubelet", common_name="kube-apiserver", groups=["system:masters"])
    tokens = authority.directory / "tokens.csv"
    if not tokens.exists():
        token = secrets.token_urlsafe(24)
        write_kubeconfig(layout.kubeconfig, server=layout.server, authority=authority, user={"token": token})
        tokens.touch(mode=0o600)
        tokens.write_text(f'{token},admin,admin,"system:masters"\n')
    # As one client for all its controllers, which needs the rights of all: making an account and a token for each of
    # forty controllers would add five seconds to every start.
    client_kubeconfig(
        layout,
        name="kube-controller-manager",
        common_name="system:kube-controller-manager",
        groups=["system:masters"],
    )
    client_kubeconfig(layout, name="kube-scheduler", common_name="system:kube-scheduler")


def client_kubeconfig(
    layout: ControlPlaneLayout, *, name: str, common_name: str, groups: Sequence[str] = (), server: str = ""
) -> Path:
    """Write a kubeconfig that names its user by a client certificate, and return its path."""
    path = layout.directory / f"{name}.kubeconfig"
    certificate, key = layout.authority.sign(name, common_name=common_name, groups=groups)
    user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    write_kubeconfig(path, server=server or layout.server, authority=layout.authority, user=user)
    return path


def write_kubeconfig(path: Path, *, server: str, authority: Authority, user: Mapping[str, str]) -> None:
    """Write a kubeconfig with one cluster, one user and one context, all named ``testbed``."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority.certificate)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": "testbed", "user": dict(user)}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "current-context": "testbed",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def etcd(layout: ControlPlaneLayout, program: Path) -> Daemon:
    """The store of the API server; it never syncs to disk: a cluster for tests need not survive a power failure."""
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    argv = [
        str(program),
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Daemon(name="etcd", argv=argv)


def api_server(layout: ControlPlaneLayout, program: Path, *, reaches_nodes: bool) -> Daemon:
    """The API server; ``reaches_nodes`` where its own address is one that nodes and pods can use."""
    pki = layout.authority.directory
    argv = [
        str(program),
        f"--bind-address={layout.address}",
        f"--secure-port={layout.api_port}",
        f"--etcd-servers={layout.etcd_url}",
        f"--service-cluster-ip-range={layout.service_cidr}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--token-auth-file={pki / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-to-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-to-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
        "--profiling=false",
    ]
    if reaches_nodes:
        argv.append(f"--advertise-address={layout.address}")
    else:
        # An endpoint object may not hold a loopback address, and without nodes nobody would use it.
        argv.append("--endpoint-reconciler-type=none")
    return Daemon(name="kube-apiserver", argv=argv, after=[f"127.0.0.1:{layout.etcd_port}"])


def controller_manager(layout: ControlPlaneLayout, program: Path) -> Daemon:
    """The controller manager with its defaults, but for the one noted below."""
    pki = layout.authority.directory
    config = layout.directory / "kube-controller-manager.kubeconfig"
    argv = [
        str(program),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--bind-address={layout.address}",
        f"--secure-port={layout.controllers_port}",
        "--leader-elect=false",
        # 50 s by default: a test that waits for a dead node to be noticed would spend most of its time here. The
        # kubelets renew their leases every 5 s, so that a busy machine still has three renewals to miss.
        "--node-monitor-grace-period=20s",
        "--profiling=false",
    ]
    return Daemon(name="kube-controller-manager", argv=argv, after=[f"{layout.server}/readyz"])


def scheduler(layout: ControlPlaneLayout, program: Path) -> Daemon:
    """The scheduler with its defaults."""
    config = layout.directory / "kube-scheduler.kubeconfig"
    argv = [
        str(program),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={layout.address}",
        f"--secure-port={layout.scheduler_port}",
        "--leader-elect=false",
        "--profiling=false",
    ]
    return Daemon(name="kube-scheduler", argv=argv, after=[f"{layout.server}/readyz"])


class ControlPlane:
    """A real etcd and API server on loopback: a context manager that needs neither root nor a network.

    There are no nodes, so pods stay Pending unless the test writes their status. With ``controllers`` there is a
    controller manager too: namespaces get their service account and can be deleted, and owned objects are collected.
    With ``scheduling`` there is a scheduler. ``flags`` are further ones, by the program's name.
    The processes die with this one, however it ends. Start it from the main thread: Linux ties them to the thread.
    """

    __test__ = False

    def __init__(
        self,
        *,
        controllers: bool = False,
        scheduling: bool = False,
        flags: Mapping[str, Sequence[str]] | None = None,
        directory: Path | None = None,
        report: Say = keep_quiet,
    ) -> None:
        self._controllers = controllers
        self._scheduling = scheduling
        self._flags = flags or {}
        self._directory = directory
        self._report = report
        self._cleanup = ExitStack()
        self._layout: ControlPlaneLayout | None = None

    @property
    def layout(self) -> ControlPlaneLayout:
        """Addresses and files of the running control plane."""
        if self._layout is None:
            raise RuntimeError("the control plane is not running: use it as a context manager")
        return self._layout

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator."""
        return self.layout.kubeconfig

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self.layout.server

    @property
    def api(self) -> Api:
        """Client with the administrator's rights."""
        return Api.of(self.kubeconfig)

    def __enter__(self) -> ControlPlane:
        programs = binaries(BINARIES, report=self._report)
        with ExitStack() as cleanup:
            directory = self._directory or Path(tempfile.mkdtemp(prefix="rsw-control-plane-"))
            cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
            self._layout = layout = _on_loopback(directory)
            prepare_files(layout)
            daemons = [
                etcd(layout, programs["etcd"]),
                api_server(layout, programs["kube-apiserver"], reaches_nodes=False),
            ]
            if self._controllers:
                daemons.append(controller_manager(layout, programs["kube-controller-manager"]))
            if self._scheduling:
                daemons.append(scheduler(layout, programs["kube-scheduler"]))
            for daemon in daemons:
                flagged = replace(daemon, argv=[*daemon.argv, *self._flags.get(daemon.name, ())])
                cleanup.enter_context(running(flagged, directory))
            api = self.api
            wait_until(
                lambda: api.is_ready() and _has_default_namespace(api),
                what="the API server to become ready",
                seconds=60,
                every=0.05,
                clue=lambda: last_lines(directory / "kube-apiserver.log"),
            )
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()
        self._layout = None


@contextmanager
def running(daemon: Daemon, directory: Path) -> Iterator[None]:
    """Run a program for as long as the block, once what it needs answers; its output goes into ``directory``."""
    log = directory / f"{daemon.name}.log"
    wait_until(
        lambda: all(answers(address) for address in daemon.after),
        what=f"{', '.join(daemon.after)}, which {daemon.name} needs",
        seconds=60,
        every=0.05,
    )
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *daemon.argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **daemon.env},
            start_new_session=True,  # an interrupt typed at the terminal is for the tests, which then end these
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _on_loopback(directory: Path) -> ControlPlaneLayout:
    # All are held open together, so that no two are equal.
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(5)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return ControlPlaneLayout(
        directory=directory,
        address="127.0.0.1",
        api_port=ports[0],
        etcd_port=ports[1],
        etcd_peer_port=ports[2],
        controllers_port=ports[3],
        scheduler_port=ports[4],
        service_cidr="10.96.0.0/16",
        first_service_address="10.96.0.1",
    )


def _has_default_namespace(api: Api) -> bool:
    # Readiness comes some tenths of a second before the API server has made it, and tests create objects in it at once.
    return any(item["metadata"]["name"] == "default" for item in api.get("/api/v1/namespaces")["items"])


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
