"""Values for an installation without rights in the whole cluster."""

from __future__ import annotations

from typing import Any

IN_NAMESPACES: dict[str, Any] = {
    "operator": {"watchNamespaces": ["team-a", "team-b"]},
    "crds": {"enabled": False},
    "rbac": {"scope": "namespace", "aggregate": False},
    "tenancy": {"authorPolicy": False},
}
