"""How requests to the API server are called in metrics."""

from __future__ import annotations

_API_PARTS = {"api": 1, "apis": 2}
"""How many parts of a path name group and version after its first."""


def resource_of(path: str) -> str:
    """Return the plural name of what a path leads to, with its subresource: `pods`, `resumablesweeps/status`.

    A path that leads to no resource is one by which a client finds out which there are.
    """
    parts = _below_namespace(path)
    if not parts:
        return "discovery"
    return "/".join(part for place, part in enumerate(parts) if place in (0, 2))


def verb_of(verb: str, path: str) -> str:
    """Return the verb by which the API server's own metrics and rights call a request."""
    return "list" if verb == "get" and len(_below_namespace(path)) == 1 else verb


def code_of(status: int) -> str:
    """Return an HTTP status as a label, `none` where there was no answer (0)."""
    return str(status) if status else "none"


def _below_namespace(path: str) -> list[str]:
    root, *rest = path.strip("/").split("/")
    parts = rest[_API_PARTS.get(root, len(rest)) :]
    return parts[2:] if parts[:1] == ["namespaces"] and len(parts) > 2 else parts
