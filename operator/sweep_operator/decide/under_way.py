"""What the shards under way are busy with, besides their items: in words, for the condition of a running sweep."""

from __future__ import annotations

from collections.abc import Sequence

from resumable_sweep.contract.report import Report, Stage
from sweep_operator.decide.wording import which_shards
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord
from sweep_operator.model.snapshot import Snapshot

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def told(snapshot: Snapshot, records: Sequence[ShardRecord]) -> list[str]:
    """Return what is to be said: which shards restore and how far they are, and whose machines are about to go."""
    current = [record for record in records if record.state in UNDER_WAY]
    return [text for text in (_restoring(snapshot, current), _announced(snapshot, current)) if text]


def _restoring(snapshot: Snapshot, records: Sequence[ShardRecord]) -> str:
    reports = {record.shard: report for record in records if (report := _restore_of(record, snapshot)) is not None}
    if not reports:
        return ""
    restored = sum(report.restored_bytes for report in reports.values())
    size = sum(report.restore_bytes for report in reports.values())
    return f"{which_shards(list(reports))} restoring {size_text(restored, size)}"


def _restore_of(record: ShardRecord, snapshot: Snapshot) -> Report | None:
    report, pod = snapshot.reports.get(record.attempt), snapshot.pod_of(record.attempt)
    if report is None or report.stage is not Stage.RESTORING or not report.restore_bytes:
        return None
    return None if pod is not None and pod.is_running else report


def _announced(snapshot: Snapshot, records: Sequence[ShardRecord]) -> str:
    noticed = [record for record in records if record.notice.is_hard and record.deadline and not record.heir_ended]
    if not noticed:
        return ""
    kinds = ", ".join(dict.fromkeys(record.notice.value for record in noticed))
    ready = sum(snapshot.pod_of(record.heir) is not None for record in noticed if record.heir)
    what = "its machine" if len(noticed) == 1 else "machines"
    which = which_shards([record.shard for record in noticed])
    return f"{which} losing {what} ({kinds}), {ready} of {len(noticed)} successors made"


def size_text(part: int, whole: int) -> str:
    """Return a part of a number of bytes in decimal units, for example `3.1 of 12 GB`."""
    size, unit = next((each for each in _UNITS if whole >= each[0]), (1.0, "bytes"))
    return f"{part / size:.3g} of {whole / size:.3g} {unit}"
