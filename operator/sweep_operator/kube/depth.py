"""How deep the objects may be that the API server hands out."""

from __future__ import annotations

import sys

MOST_LEVELS = 10_000
"""The API server reads no object that is deeper (sigs.k8s.io/json, maxNestingDepth)."""

_FRAMES = 15_000
"""Of this process besides; both together fit into the 8 MiB that Linux gives a stack."""


def allow_deep_objects() -> None:
    """Have this process read, compare and write all objects that the API server takes.

    Python gives up at a thousand levels, and what a template may hold is open: a single sweep that is deeper could not
    be listed, and so none of all others.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), MOST_LEVELS + _FRAMES))
