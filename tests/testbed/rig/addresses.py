"""Which addresses a cluster uses: one /16 of the shared address space 100.64.0.0/10 (RFC 6598) each.

That range is meant for a carrier's inside, so that it hardly ever clashes with a home, office or cloud network.
"""

from __future__ import annotations

from dataclasses import dataclass

CLUSTERS = 32  # at once on one machine: 100.64.0.0/16 to 100.95.0.0/16
MOST_NODES = 100  # per cluster; each has its own /24 for pods


@dataclass(frozen=True)
class Addresses:
    """The plan of the cluster with number ``index``; addresses are text."""

    index: int

    @property
    def network(self) -> str:
        """All that belongs to the cluster: what the host routes to it."""
        return f"{self._prefix}.0.0/16"

    @property
    def control_plane(self) -> str:
        """Where API server, DNS, registry and object store are reached by nodes, pods and the host alike."""
        return f"{self._prefix}.0.1"

    @property
    def host(self) -> str:
        """The host's end of its link into the cluster, a /30."""
        return f"{self._prefix}.1.1"

    @property
    def host_gateway(self) -> str:
        """The cluster's end of that link."""
        return f"{self._prefix}.1.2"

    @property
    def services(self) -> str:
        """Network of cluster IPs."""
        return f"{self._prefix}.16.0/20"

    @property
    def first_service(self) -> str:
        """Cluster IP of the API server itself."""
        return f"{self._prefix}.16.1"

    @property
    def pods(self) -> str:
        """Network of all pods."""
        return f"{self._prefix}.128.0/17"

    def node(self, number: int) -> str:
        """Address of a node; nodes are counted from 1."""
        return f"{self._prefix}.0.{self._checked(number) + 10}"

    def pods_of(self, number: int) -> str:
        """Network of the pods of one node."""
        return f"{self._prefix}.{128 + self._checked(number)}.0/24"

    @property
    def _prefix(self) -> str:
        if not 0 <= self.index < CLUSTERS:
            raise ValueError(f"cluster index {self.index} is not between 0 and {CLUSTERS - 1}")
        return f"100.{64 + self.index}"

    @staticmethod
    def _checked(number: int) -> int:
        if not 1 <= number <= MOST_NODES:
            raise ValueError(f"node number {number} is not between 1 and {MOST_NODES}")
        return number
