"""Machines that have fallen silent: presumed dead before Kubernetes says so, and what a false alarm teaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resumable_sweep.contract.report import HEARTBEAT_SECONDS
from sweep_operator.decide.classify import Finding, failure_of, has_failed
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot, Spec, Sweep

SUSPECT_AFTER_SECONDS = HEARTBEAT_SECONDS + 2.0
"""A report that is so late is missing: from then on the Lease of the pod's node is watched."""

MISSED_RENEWALS = 1.25
"""A Lease counts as not renewed when this many of its renewals are due: one that is merely late must not do."""

_MOST_DOUBLINGS = 5


def suspects(
    sweep: Sweep, *, heard_at: Mapping[int, float], attentive_since: float | None, now: float
) -> list[ShardRecord]:
    """Return the shards whose attempt should have reported by now, and has not.

    `heard_at` is as in `Snapshot`, and so is `attentive_since`.
    """
    if not sweep.spec.silent_seconds or attentive_since is None or now - attentive_since < SUSPECT_AFTER_SECONDS:
        return []
    return [
        record
        for record in sweep.status.records
        if record.state in UNDER_WAY
        and (last := _last_word_at(record, heard_at, attentive_since)) is not None
        and now - last >= SUSPECT_AFTER_SECONDS
    ]


def _last_word_at(record: ShardRecord, heard_at: Mapping[int, float], attentive_since: float) -> float | None:
    """Return since when nothing was heard of an attempt, None where nothing ever was.

    One that never could report (a NetworkPolicy in between) is not silent now. One that has restored has reported,
    if to an operator before this one, to which it may not have come back yet: its silence begins anew.
    """
    heard = heard_at.get(record.attempt)
    if heard is None and not record.base:
        return None
    return max(heard or 0.0, attentive_since)


def patience_seconds(record: ShardRecord, spec: Spec) -> float:
    """Return how long a shard's attempt may be silent: doubled with every false alarm of the shard; 0: for ever."""
    return float(spec.silent_seconds * 2 ** min(record.false_alarms, _MOST_DOUBLINGS))


def silence_of(
    record: ShardRecord,
    lease: LeaseView,
    *,
    spec: Spec,
    heard_at: Mapping[int, float],
    attentive_since: float,
    now: float,
) -> float | None:
    """Return for how many seconds an attempt was silent, None where that does not suffice to presume it dead.

    `lease` is that of its node; `heard_at` and `attentive_since` are as in `Snapshot`.
    """
    patience = patience_seconds(record, spec)
    last = _last_word_at(record, heard_at, attentive_since)
    # The Lease is watched from the first missing report on, which leaves half of the time or more to see a renewal.
    least = max(patience / 2, MISSED_RENEWALS * lease.renewal_seconds)
    if not patience or last is None or now - last < patience or lease.unrenewed_seconds < least:
        return None
    return now - last


def judged_by_silence(
    finding: Finding, record: ShardRecord, *, pod: PodView | None, snapshot: Snapshot, now: float
) -> Finding:
    """Return that an attempt is presumed dead: nothing else is known against it, but it and its node are silent.

    Each of the two ways can be cut off without harm to the pod, the way to the operator or that to the API server:
    only both together tell of the machine.
    """
    if finding.signal or finding.complete or pod is None or pod.is_terminal:
        return finding
    lease = snapshot.leases.get(pod.node)
    if lease is None or not snapshot.presence.nodes_visible or snapshot.attentive_since is None:
        return finding
    silent_for = silence_of(
        record,
        lease,
        spec=snapshot.sweep.spec,
        heard_at=snapshot.heard_at,
        attentive_since=snapshot.attentive_since,
        now=now,
    )
    if silent_for is None:
        return finding
    if has_failed(pod):
        # The program had crashed, and its pod was still to end, when the machine fell silent: its own failure stays so.
        return failure_of(pod, now=now)
    said = (
        f"no report for {silent_for:.0f} s, and the Lease of node {pod.node} was not renewed for "
        f"{lease.unrenewed_seconds:.0f} s"
    )
    return Finding(signal=Signal.NODE_SILENT, ended=True, message=said)


def listened_to(record: ShardRecord) -> tuple[int, ...]:
    """Return the attempts whose reports may tell something: one may have been presumed dead too early."""
    return (*record.attempts, record.silenced) if record.silenced else record.attempts


@dataclass(frozen=True)
class HeardAgain:
    """A record that knows of its false alarm, and what is to be said about it."""

    record: ShardRecord
    event: SweepEvent | None = None


def heard_again(record: ShardRecord, snapshot: Snapshot) -> HeardAgain:
    """Return the record with what a word of the attempt that was presumed dead tells.

    Where Kubernetes has lost the node meanwhile as well, it was no false alarm: the machine was cut off.
    """
    if not record.silenced:
        return HeardAgain(record)
    if record.signal is not Signal.NODE_SILENT:
        return HeardAgain(record.changed(silenced=0))
    if snapshot.heard_at.get(record.silenced, 0.0) <= record.since:
        return HeardAgain(record)
    after = record.changed(silenced=0)
    pod = snapshot.pod_of(record.silenced)
    node = snapshot.presence.nodes.get(pod.node) if pod is not None else None
    if pod is not None and (node is None or node.ready != "True" or node.ready_since > record.since):
        return HeardAgain(after)
    after = after.changed(false_alarms=record.false_alarms + 1)
    said = (
        f"shard {record.shard}, attempt {record.silenced}{f' on {pod.node}' if pod is not None else ''}: not dead, as "
        f"it reports again; from now on this shard's attempts are presumed dead after "
        f"{patience_seconds(after, snapshot.sweep.spec):.0f} s of silence"
    )
    return HeardAgain(after, SweepEvent(reason="FalseAlarm", message=said, warning=True))
