"""The Go programs that the testbed runs: built once from pinned modules into a cache keyed by their contents."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rig.errors import RigError
from rig.progress import Say, say

_SOURCES = Path(__file__).resolve().parent.parent / "go"
_KUBERNETES_VERSION = "1.35.4"
# What makes a build the same for whoever runs it.
_BUILD_ENVIRONMENT = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false -mod=readonly"}


def _kubernetes_flags() -> str:
    # Without these the programs call themselves v0.0.0-master, which kubelet, kubectl and Helm compare with each other.
    major, minor, _ = _KUBERNETES_VERSION.split(".")
    package = "k8s.io/component-base/version"
    values = {
        "gitVersion": f"v{_KUBERNETES_VERSION}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "2026-01-01T00:00:00Z",
    }
    return " ".join(f"-X {package}.{name}={value}" for name, value in values.items())


@dataclass(frozen=True, kw_only=True)
class GoModule:
    """A directory below ``tests/testbed/go`` with its go.mod and go.sum, and the packages to build in it."""

    directory: str
    packages: Mapping[str, str]
    linker_flags: str = "-s -w"
    tags: str = ""
    """Build tags, separated by commas."""


MODULES: tuple[GoModule, ...] = (
    GoModule(
        directory="kubernetes",
        packages={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
            "kubelet": "k8s.io/kubernetes/cmd/kubelet",
            "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
            "kubectl": "k8s.io/kubernetes/cmd/kubectl",
            "gpu-device-plugin": "./gpu",
        },
        linker_flags=f"-s -w {_kubernetes_flags()}",
    ),
    GoModule(
        directory="services",
        packages={
            "coredns": "./coredns",
            "registry": "./registry",
            "pause": "./pause",
            "fake-gcs-server": "github.com/fsouza/fake-gcs-server",
        },
    ),
    GoModule(
        directory="clients",
        packages={"helm": "helm.sh/helm/v3/cmd/helm", "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
    ),
    GoModule(directory="kwok", packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    GoModule(
        directory="monitoring",
        packages={"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
        # Without the clients of two dozen clouds, in which it could look for machines to scrape.
        tags="remove_all_sd",
    ),
)

NAMES: tuple[str, ...] = tuple(name for module in MODULES for name in module.packages)


def cache_directory() -> Path:
    """Where binaries, base images and built layers are kept between runs: below ``XDG_CACHE_HOME`` or ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "resumable-sweep" / "testbed"


def content_hash(module: GoModule, name: str, *, sources: Path = _SOURCES) -> str:
    """Hash of all that decides what one binary contains, but for the Go release: 12 hexadecimal digits."""
    package = module.packages[name]
    root = sources / module.directory
    files = [root / "go.mod", root / "go.sum"]
    if package.startswith("./"):
        files += sorted(path for path in (root / package).rglob("*") if path.is_file())
    decisive = [platform.machine(), module.linker_flags, package, *([module.tags] if module.tags else [])]
    digest = hashlib.sha256("".join(f"{each}\n" for each in decisive).encode())
    for path in files:
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def binary(name: str, *, report: Say = say) -> Path:
    """Path of the named program, built first where the cache lacks it."""
    return binaries([name], report=report)[name]


def binaries(names: Iterable[str], *, report: Say = say) -> dict[str, Path]:
    """Paths of the named programs by name; what the cache lacks is built, one at a time, and reported with its seconds.

    Raises ``RigError`` for a name that is not in ``NAMES`` and for a failed build.
    """
    found: dict[str, Path] = {}
    for name in names:
        module = next((m for m in MODULES if name in m.packages), None)
        if module is None:
            raise RigError(f"binary {name!r} is none of the testbed's; there are {', '.join(NAMES)}")
        directory = cache_directory() / "bin" / content_hash(module, name)
        found[name] = directory / name
        if not found[name].exists():
            _build(module, name, directory=directory, report=report)
    return found


def _build(module: GoModule, name: str, *, directory: Path, report: Say) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may find the same binary missing at once
        target = directory / name
        if target.exists():
            return
        go = shutil.which("go")
        if go is None:
            raise RigError(
                f"cannot build {name}: `go` is not on the PATH; install Go 1.26 or newer from https://go.dev/dl/"
            )
        report(f"  building {name} (once; a first build of everything takes about six minutes on two cores)")
        started = time.monotonic()
        part = directory / f"{name}.part"
        done = subprocess.run(
            [
                *(go, "build", "-trimpath", f"-ldflags={module.linker_flags}", f"-tags={module.tags}"),
                *("-o", str(part), module.packages[name]),
            ],
            cwd=_SOURCES / module.directory,
            env={**os.environ, **_BUILD_ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if not line.startswith("go: downloading")]
            raise RigError(f"building {name} failed:\n" + "\n".join(lines[-15:]))
        part.rename(target)
        report(f"  built {name} ({time.monotonic() - started:.0f} s)")
