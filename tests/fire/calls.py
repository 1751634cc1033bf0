"""What the operator asks of the API server, told apart by verb and resource."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}
_PLACE = re.compile(
    r"^/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$"
)
_PASSING = ("events", "tokenreviews")
"""Of these nothing stays that anybody goes by."""


@dataclass(frozen=True)
class Call:
    """One request: `resource` is a plural, `status` for that of a sweep, and empty for what is asked to find the API.

    `tries` tells that nothing is to be done, as by a dry run.
    """

    verb: str
    resource: str
    tries: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes what anybody goes by."""
        return self.verb in _VERBS.values() and self.resource not in _PASSING and not self.tries

    def __str__(self) -> str:
        return f"{self.verb}-{self.resource}"


def call_of(method: str, path: str, query: Mapping[str, str]) -> Call:
    """Return what a request asks for."""
    found = _PLACE.match(path)
    if found is None:
        return Call("get", "")
    resource = "status" if found["sub"] == "status" else found["plural"]
    resource = "sweeps" if resource == "resumablesweeps" else resource
    if method != "GET":
        return Call(_VERBS[method], resource, tries="dryRun" in query)
    if query.get("watch") in ("true", "1"):
        return Call("watch", resource)
    return Call("get" if found["name"] else "list", resource)
