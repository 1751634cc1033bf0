"""A real Kubernetes cluster on one Linux machine, without Docker: for this project's tests, demo and benchmarks."""

from __future__ import annotations

from rig.control_plane import ControlPlane
from rig.errors import RigError

__all__ = ["ControlPlane", "RigError"]
