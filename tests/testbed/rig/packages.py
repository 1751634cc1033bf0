"""The programs that the testbed needs from the Linux distribution, and how it gets them on Debian."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rig.errors import RigError
from rig.progress import Say, say

# Program (looked up on the PATH, or a path) -> Debian package.
FOR_THE_CLUSTER: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "/usr/bin/dbus-daemon": "dbus",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "mount": "mount",
}
FOR_IMAGES: Mapping[str, str] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_SYSTEM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"


def missing(programs: Mapping[str, str]) -> dict[str, str]:
    """Those of ``programs`` that are not installed, with their packages."""
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_DIRECTORIES}"
    return {program: package for program, package in programs.items() if not _is_there(program, path)}


def install(programs: Mapping[str, str], *, report: Say = say) -> None:
    """Install with apt-get what is missing; raises ``RigError`` where there is no apt-get, or no right to use it."""
    absent = missing(programs)
    if not absent:
        return
    packages = sorted(set(absent.values()))
    if shutil.which("apt-get") is None:
        raise RigError(f"{', '.join(absent)} not found; install what Debian calls {' '.join(packages)}")
    report(f"  installing Debian packages: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RigError(f"`apt-get {' '.join(arguments)}` failed:\n" + "\n".join(done.stdout.splitlines()[-10:]))
    left = missing(programs)
    if left:
        raise RigError(f"still not found after installing {' '.join(packages)}: {', '.join(left)}")


def require_root_on_linux(what: str) -> None:
    """Raise ``RigError`` unless this is Linux and the user is root."""
    if not sys.platform.startswith("linux"):
        raise RigError(f"{what} needs Linux (namespaces and cgroups); this is {sys.platform}")
    if os.geteuid() != 0:
        raise RigError(f"{what} needs root (namespaces, cgroups, mounts); run it with sudo")


def require_dbus_library() -> None:
    """Raise ``RigError`` unless this Python has dbus-fast, which the nodes' login manager is made with."""
    if importlib.util.find_spec("dbus_fast") is None:
        raise RigError(f"{sys.executable} lacks the package dbus-fast; run `make venv`, then the testbed uses .venv")


def _is_there(program: str, path: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program, path=path) is not None
