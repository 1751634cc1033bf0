"""The attempts of which there is nothing to decide: told at a glance, for there may be thousands of them."""

from __future__ import annotations

from resumable_sweep.contract.report import Report, Stage
from sweep_operator.decide.images import Images
from sweep_operator.model.observed import NodeView, PodView
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.snapshot import Snapshot


def is_undisturbed(
    record: ShardRecord, pod: PodView, snapshot: Snapshot, *, report: Report | None, images: Images
) -> bool:
    """Return whether an attempt simply goes on: no piece of evidence says anything against it.

    Where this is true, a whole judgement leaves `record`, which is up to date with `report`, as it is. It need not be
    true of each such attempt.
    """
    if record.state is not ShardState.ACTIVE or record.heir or record.notice or not pod.runs_undisturbed:
        return False
    node = snapshot.presence.nodes.get(pod.node)
    if node is None or not _is_as_before(node, record) or pod.node in snapshot.leases:
        return False
    if report is not None and (report.notice or report.stage not in (Stage.RESTORING, Stage.MIRRORING)):
        return False
    creation = snapshot.creations.get(record.attempt)
    if pod.uid in snapshot.forbidden or (creation is not None and creation.problem):
        return False
    return all(digest in images.get(main.image, ()) for main, digest in pod.digests)


def _is_as_before(node: NodeView, record: ShardRecord) -> bool:
    """Return whether a node that is well is the one, in the same boot, that the attempt was placed on."""
    return node.is_well and record.incarnation == node.incarnation
