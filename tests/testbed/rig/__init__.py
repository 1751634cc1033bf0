"""A real Kubernetes cluster on one Linux machine, without Docker: for this project's tests, demo and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rig.cluster import Testbed
    from rig.control_plane import ControlPlane
    from rig.errors import RigError

__all__ = ["ControlPlane", "RigError", "Testbed"]

_MODULES = {"ControlPlane": "rig.control_plane", "RigError": "rig.errors", "Testbed": "rig.cluster"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the first process of each machine runs a module of this package, and stays small.
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
