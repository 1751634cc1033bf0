"""What the operator has asked of the API server, as it counts itself, and how large a status is."""

from __future__ import annotations

import json
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from bench.operator_client import Client


class Calls(Counter[str]):
    """Requests by verb and resource, for example `create pods`."""

    def since(self, before: Calls) -> Calls:
        """Return what was asked since `before`."""
        return Calls({name: count - before[name] for name, count in self.items() if count > before[name]})


def calls_in(metrics: str) -> Calls:
    """Return the requests that an operator's metrics count; a watch is one, however long it lasts."""
    found = Calls()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "resumable_sweep_api_requests_total":
                found[f"{sample.labels['verb']} {sample.labels['resource']}"] += int(sample.value)
    return found


async def status_bytes(client: Client, path: str) -> int:
    """Return how long the status of a sweep is as JSON."""
    return len(json.dumps((await client.get(path))["status"], separators=(",", ":")))
