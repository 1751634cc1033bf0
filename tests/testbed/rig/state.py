"""What the testbed remembers, and where: nothing is in memory only, so that `down` works after any crash.

A cluster is found again by its state directory: processes carry that path in their environment, and a claim file under
/run says which number, and so which names of namespaces, cgroups and links, belongs to it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.addresses import CLUSTERS, Addresses
from rig.errors import RigError
from rig.limits import raise_limits, restore_limits
from rig.metadata import Cloud

_CLAIMS = Path("/run/resumable-sweep-testbed")
# A node sees its own directories at these places, so that a state directory below them would vanish inside it.
_HIDDEN_IN_NODES = ("/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev")


@dataclass(frozen=True)
class NodeSpec:
    """A node as asked for; ``number`` decides its addresses, and ``incarnation`` tells it from others of its name.

    ``cloud`` is the one whose metadata server it has.
    """

    name: str
    number: int
    spot: bool
    gpus: int
    cloud: Cloud = "gce"
    incarnation: str = ""


@dataclass(frozen=True)
class State:
    """The files of one cluster below ``directory``."""

    directory: Path

    @classmethod
    def at(cls, directory: Path | str | None) -> State:
        """State at ``directory``, else at ``TESTBED_STATE``, else in the user's cache."""
        from rig.binaries import cache_directory

        chosen = directory or os.environ.get("TESTBED_STATE") or cache_directory() / "cluster"
        path = Path(chosen).absolute()
        require_visible(path, "--state")
        return cls(path)

    @property
    def control_plane(self) -> Path:
        """Keys, kubeconfigs, logs and data of the control plane."""
        return self.directory / "control-plane"

    @property
    def machines(self) -> Path:
        """One directory for each node."""
        return self.directory / "machines"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator."""
        return self.control_plane / "kubeconfig"

    def index(self) -> int | None:
        """The cluster's number, or None where nothing was ever claimed for this directory."""
        for claim in _claims():
            if claim.read_text() == str(self.directory):
                return int(claim.name)
        return None

    def claim(self) -> int:
        """Take a free number for this cluster before anything named after it is made."""
        with _locked(_CLAIMS / "lock"):
            raise_limits(_CLAIMS / "inotify-before")
            index = self.index()
            if index is not None:
                return index
            taken = {int(claim.name) for claim in _claims()}
            free = next((i for i in range(CLUSTERS) if i not in taken), None)
            if free is None:
                raise RigError(
                    f"all {CLUSTERS} cluster numbers are taken: see {_CLAIMS}, `testbed down --state DIR` each"
                )
            new = _CLAIMS / f".{free}"
            new.write_text(str(self.directory))
            new.rename(_CLAIMS / str(free))
            return free

    def release(self) -> None:
        """Give the number back, once nothing that is named after it is left."""
        with _locked(_CLAIMS / "lock"):
            index = self.index()
            if index is not None:
                (_CLAIMS / str(index)).unlink(missing_ok=True)
            if not _claims():
                restore_limits(_CLAIMS / "inotify-before")

    @property
    def addresses(self) -> Addresses:
        """The address plan; raises ``RigError`` where there is no cluster."""
        index = self.index()
        if index is None:
            raise RigError(f"there is no cluster with the state directory {self.directory}; `testbed up` makes one")
        return Addresses(index)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time change which nodes there are."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with _locked(self.directory / ".lock"):
            yield

    def nodes(self) -> list[NodeSpec]:
        """All nodes whose machines were made and not yet removed, by number."""
        specs = [NodeSpec(**json.loads(path.read_text())) for path in self.machines.glob("*/node.json")]
        return sorted(specs, key=lambda spec: spec.number)

    def last_of(self, name: str) -> NodeSpec | None:
        """The node that had that name last, also when its machine is gone; None where there never was one."""
        path = self._known / f"{name}.json"
        return NodeSpec(**json.loads(path.read_text())) if path.exists() else None

    @property
    def _known(self) -> Path:
        # Apart from the machines' own directories: those go with them.
        return self.directory / "nodes"

    def announcement(self, name: str) -> Path:
        """File that says what a node's metadata server announces."""
        return self.machines / name / "announcement.json"

    def remember(self, name: str, *, spot: bool, gpus: int, cloud: Cloud = "gce") -> NodeSpec:
        """Write a new node down, with a number that none of the others has, before any part of it is made."""
        with self.locked():
            taken = {spec.number for spec in self.nodes()}
            number = next(n for n in range(1, 1000) if n not in taken)
            spec = NodeSpec(
                name=name, number=number, spot=spot, gpus=gpus, cloud=cloud, incarnation=secrets.token_hex(4)
            )
            for path in (self._known / f"{name}.json", self.machines / name / "node.json"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".new").write_text(json.dumps(spec.__dict__))
                path.with_suffix(".new").rename(path)
            return spec


def require_visible(path: Path, what: str) -> None:
    """Raise ``RigError`` naming ``what`` if nodes could not see ``path``."""
    if any(path.is_relative_to(hidden) for hidden in _HIDDEN_IN_NODES):
        raise RigError(
            f"{what} {path} lies below one of {', '.join(_HIDDEN_IN_NODES)}, where nodes see their own files"
        )


def directories() -> list[Path]:
    """The state directories of all clusters on this machine, also of those that a killed process left."""
    return [Path(claim.read_text()) for claim in _claims()]


def network_namespace(index: int, machine: str) -> str:
    """Name of a machine's network namespace."""
    return f"rsw-{index}-{machine}"


def cgroup(index: int, machine: str = "") -> str:
    """Path of a machine's cgroup below each hierarchy's root; without a machine, that of the whole cluster."""
    return f"rsw-{index}/{machine}" if machine else f"rsw-{index}"


def host_link(index: int) -> str:
    """Name of the one network interface that a cluster has on the host."""
    return f"rsw{index}"


def _claims() -> list[Path]:
    return [path for path in _CLAIMS.glob("*") if path.name.isdigit()]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
