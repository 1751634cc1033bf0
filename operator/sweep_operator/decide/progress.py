"""How far a shard's attempt has come, from its reports and its containers' last words."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_sweep.contract.report import Report, Stage
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.shard_record import ShardRecord


@dataclass(frozen=True)
class Progress:
    """A record brought up to date, how many items turned out to be lost since the last look, and the damage behind it.

    `damaged` is what the attempt's restore said of damage in the store, None but at the look that hears of it first.
    """

    record: ShardRecord
    newly_lost: int = 0
    damaged: SweepEvent | None = None


def newest_report(pod: PodView | None, pushed: Report | None) -> Report | None:
    """Return the latest word of an attempt's sidecar: pushed, or left behind as a termination message."""
    newest = pushed
    for report in pod.last_words if pod is not None else ():
        if newest is None or report.sequence > newest.sequence:
            newest = report
    return newest


def progress_of(record: ShardRecord, *, pod: PodView | None, incarnation: str, report: Report | None) -> Progress:
    """Return the record with what is newly known of its current attempt.

    Items are lost when an attempt restores fewer than the one before it had recorded: they were on the reclaimed node
    alone, and run again. Never lost is what was durable, unless the store itself is damaged.
    """
    if pod is not None and pod.node and not record.incarnation and (incarnation or not record.node):
        # Its name alone where nodes cannot be seen: it is told to people, and that an attempt was placed is known.
        record = record.changed(node=f"{pod.node}/{incarnation}")
    if report is None:
        return Progress(record)
    lost = 0
    damaged = None
    if not record.base and _has_restored(pod, report):
        if report.items_restored > record.done:
            # The attempt before got further than it was heard to: it does not count as one without progress.
            record = record.changed(setbacks=0, barren=min(record.barren, 1))
        lost = max(0, record.recorded - report.items_restored)
        record = record.changed(base=report.items_restored + 1, recorded=report.items_restored)
        if report.restore_problem:
            # The store has less than it had: what is counted as done is what it has now.
            record = record.changed(done=report.items_restored)
            said = f"shard {record.shard}, attempt {record.attempt}: {report.restore_message}"
            damaged = SweepEvent(reason=report.restore_problem, message=said, warning=True)
    if report.items_done > record.done or report.items_recorded > record.recorded:
        record = record.changed(
            done=max(record.done, report.items_done), recorded=max(record.recorded, report.items_recorded)
        )
    return Progress(_with_news(record, report), newly_lost=lost, damaged=damaged)


def _with_news(record: ShardRecord, report: Report) -> ShardRecord:
    """Return the record with what is newly stored of its shard noted, whatever that is."""
    if record.barren and made_progress(record):
        record = record.changed(barren=0)
    if report.items_total is not None or record.recorded or report.generation is None:
        return record
    # Nobody counts the items: that something else is stored than before is all there is to go by.
    if report.generation > record.generation:
        return record.changed(barren=0, generation=report.generation)
    return record


def _has_restored(pod: PodView | None, report: Report) -> bool:
    """Return whether the report's `items_restored` is final: while it restores, a sidecar knows of nothing yet."""
    return (pod is not None and pod.has_restored) or report.stage is not Stage.RESTORING


def made_progress(record: ShardRecord) -> bool:
    """Return whether the current attempt has made at least one item durable."""
    return record.base > 0 and record.done > record.base - 1
