"""What the operator cannot see: without rights in the whole cluster it knows neither nodes nor who sends a report.

It is said on every sweep, in conditions of their own: such an installation works, and `Healthy` must stay a sign of
what is amiss with the sweep.
"""

from __future__ import annotations

from sweep_operator.model.snapshot import Condition, Snapshot

NODE_ACCESS = "NodeAccess"
REPORT_ACCESS = "ReportAccess"

_NODES = (
    "the operator may not read nodes: a machine that goes without a word is seen when its pods are deleted, not before"
)
_REPORTS = (
    "the operator takes no reports, because it may not review the tokens of pods or has no address for them: DONE and "
    "LOST change when a pod ends, a cloud's notice makes no successor ahead of time, and a shard is complete by its "
    "records alone, never by exit code"
)


def blind_spots(snapshot: Snapshot, *, now: float) -> list[Condition]:
    """Return a condition for each thing that the operator cannot see, none where it sees all. `now` in Unix seconds."""
    found = []
    if not snapshot.presence.nodes_visible:
        found.append(Condition(type=NODE_ACCESS, status=False, reason="NodesForbidden", message=_NODES, since=now))
    if snapshot.listening_since is None:
        found.append(Condition(type=REPORT_ACCESS, status=False, reason="ReportsNotTaken", message=_REPORTS, since=now))
    return found
