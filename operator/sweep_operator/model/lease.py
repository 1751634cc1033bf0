"""The Lease by which a node's kubelet tells Kubernetes that it lives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseView:
    """How long a node's Lease was seen not to be renewed, and how often it should be; seconds.

    Renewals carry the node's clock, which is compared with no other: what counts is for how long the operator has read
    the same.
    """

    unrenewed_seconds: float
    renewal_seconds: float
