"""What the API server has counted of the operator's requests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

from bench.operator_client import Client

_SERIES = re.compile(r"^apiserver_request_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Calls:
    """Requests that only the operator sends in these clusters, but for pods that the bench or the Job controller makes.

    Kubernetes' own parts write events of another API group, and delete pods only where a node is gone.
    """

    pod_creates: int = 0
    pod_deletes: int = 0
    status_writes: int = 0
    events: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, each.name) for each in fields(self))

    def since(self, before: Calls) -> Calls:
        """Return what was asked since `before`."""
        return Calls(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(self)))

    def told(self) -> dict[str, int]:
        """Return them by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


async def calls_of(client: Client) -> Calls:
    """Return what the API server has counted so far."""
    counted = {
        ("pods", "", "POST", ""): "pod_creates",
        ("pods", "", "DELETE", ""): "pod_deletes",
        ("resumablesweeps", "resumable.dev", "PUT", "status"): "status_writes",
        ("events", "", "POST", ""): "events",
    }
    found = {each.name: 0 for each in fields(Calls)}
    for labels, value in _SERIES.findall(await client.send("GET", "/metrics")):
        of = dict(_LABEL.findall(labels))
        name = counted.get((of["resource"], of["group"], of["verb"], of["subresource"]))
        if name is not None:
            found[name] += int(float(value))
    return Calls(**found)


async def status_bytes(client: Client, path: str) -> int:
    """Return how long the status of a sweep is as JSON."""
    return len(json.dumps((await client.get(path))["status"], separators=(",", ":")))
