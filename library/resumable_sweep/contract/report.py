"""What a sidecar tells the operator, and what it hears back.

The same record is the push's body and, at the end, part of the container's termination message.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

REPORT_PATH = "/v1/report"
HEARTBEAT_SECONDS = 10.0
"""How often a running attempt reports where nothing changes."""

_LATEST_UNIX_SECONDS = 1e11
_MOST_ITEMS = 2**48
"""Ten thousand shards' counts must add up to what the API server takes for a whole number."""
_MOST_BYTES = 2**60


class Stage(StrEnum):
    """How far an attempt has come."""

    RESTORING = "restoring"
    MIRRORING = "mirroring"
    SEALED = "sealed"
    """The experiment's containers have ended and all they left is in the store: nothing more will come."""
    COMPLETE = "complete"
    """The `complete` entry stands in the store: the shard is done."""
    STOPPED = "stopped"
    """The attempt's writer has stopped for good: a higher attempt has taken the shard, or it cannot write."""


class Experiment(StrEnum):
    """What the operator knows of the experiment's containers."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Every one of them exited 0."""
    FAILED = "failed"
    UNKNOWN = "unknown"


class NoticeKind(StrEnum):
    """What a cloud's metadata server announces to the machine that a pod runs on."""

    NONE = ""
    GCE_PREEMPTED = "GcePreempted"
    """Compute Engine takes the machine away within 30 s (`instance/preempted`)."""
    EC2_INTERRUPTION = "Ec2SpotInterruption"
    """EC2 stops or terminates the machine, 2 minutes ahead (`spot/instance-action`)."""
    AZURE_PREEMPT = "AzurePreempt"
    """Azure evicts the machine, 30 s ahead or more (scheduled event `Preempt`)."""
    GCE_MAINTENANCE = "GceMaintenance"
    """Compute Engine will stop the machine for maintenance of its host (`instance/maintenance-event`)."""
    EC2_REBALANCE = "Ec2RebalanceRecommendation"
    """EC2 sees a raised risk of an interruption; often nothing follows."""
    AZURE_MAINTENANCE = "AzureScheduledEvent"
    """Azure will freeze, restart or redeploy the machine."""

    @property
    def is_hard(self) -> bool:
        """Whether the machine is being taken away now; the others are advice that may come to nothing."""
        return self in _HARD


_HARD = frozenset({NoticeKind.GCE_PREEMPTED, NoticeKind.EC2_INTERRUPTION, NoticeKind.AZURE_PREEMPT})


@dataclass(frozen=True, kw_only=True)
class Report:
    """One attempt's state as its sidecar sees it.

    `sequence` grows with every report of a pod, so that an old one that arrives late is known as such. Items that are
    done or skipped are counted by distinct key: `items_done` are durable, `items_recorded` are in the snapshot
    directory, durable or not, `items_restored` came with the checkpoint; `items_total` is the shard's share, None where
    nobody knows it. `generation` is the sequence number of the newest one in the store. `problem` is a CamelCase
    reason, empty where all is well, and `message` its sentence; `restore_problem` and `restore_message` are the same of
    what the attempt found damaged when it began, and stay so in all its reports. While it restores, `restored_bytes` of
    `restore_bytes` are verified and in place. `notice` is what the cloud announces at this moment, and
    `notice_deadline` (Unix seconds) when it takes the machine away, as far as it says so.
    """

    run_id: str
    shard: int
    attempt: int
    sequence: int
    stage: Stage
    items_done: int = 0
    items_recorded: int = 0
    items_restored: int = 0
    items_total: int | None = None
    generation: int | None = None
    problem: str = ""
    message: str = ""
    restore_problem: str = ""
    restore_message: str = ""
    restored_bytes: int = 0
    restore_bytes: int = 0
    notice: NoticeKind = NoticeKind.NONE
    notice_deadline: float | None = None

    def to_json(self) -> str:
        """Return the report as a JSON object with the fields of this class."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the operator answers to a report.

    `superseded` is a hint: a writer stops only when the store itself shows a higher attempt. `notice_noted` says that
    the notice of the report stands in the sweep's status and outlives the operator: until then it is sent again.
    `may_take` says that the attempt is its shard's current one: none before it is waited for any more.
    """

    superseded: bool = False
    notice_noted: bool = False
    may_take: bool = False
    experiment: Experiment = Experiment.UNKNOWN

    def to_json(self) -> str:
        """Return the answer as a JSON object with the fields of this class."""
        return json.dumps(asdict(self))


def parsed_report(value: Any) -> Report:
    """Return the report that a decoded JSON value holds; fields of a newer version are passed over.

    Raises
    ------
    ValueError
        Where it is not a report; the message names the field.
    """
    chosen = _known_fields(value, Report)
    try:
        notice = NoticeKind(chosen.get("notice", NoticeKind.NONE))
        report = Report(**{**chosen, "stage": Stage(chosen["stage"]), "notice": notice})
    except (KeyError, TypeError) as error:
        raise ValueError(f"the report lacks a field: {error}") from error
    counts = ("shard", "attempt", "sequence", "items_done", "items_recorded", "items_restored")
    for name in (*counts, "restored_bytes", "restore_bytes"):
        number = getattr(report, name)
        if type(number) is not int or number < 0:
            raise ValueError(f"{name} must be a whole number of 0 or more, not {number!r}")
    for name in ("items_total", "generation"):
        number = getattr(report, name)
        if number is not None and (type(number) is not int or number < 0):
            raise ValueError(f"{name} must be null or a whole number of 0 or more, not {number!r}")
    for name in (*counts[3:], "items_total", "generation"):
        if (getattr(report, name) or 0) > _MOST_ITEMS:
            raise ValueError(f"{name} must be {_MOST_ITEMS} at most, not {getattr(report, name)}")
    for name in ("restored_bytes", "restore_bytes"):
        if getattr(report, name) > _MOST_BYTES:
            raise ValueError(f"{name} must be {_MOST_BYTES} at most, not {getattr(report, name)}")
    deadline = report.notice_deadline
    if deadline is not None and not (type(deadline) in (int, float) and 0 < deadline < _LATEST_UNIX_SECONDS):
        raise ValueError(f"notice_deadline must be null or Unix seconds, not {deadline!r}")
    for name in ("run_id", "problem", "message", "restore_problem", "restore_message"):
        if not isinstance(getattr(report, name), str):
            raise ValueError(f"{name} must be a string")
    return report


def parsed_answer(value: Any) -> Answer:
    """Return the answer that a decoded JSON value holds.

    Raises
    ------
    ValueError
        Where it is not an answer.
    """
    chosen = _known_fields(value, Answer)
    return Answer(
        superseded=chosen.get("superseded") is True,
        notice_noted=chosen.get("notice_noted") is True,
        may_take=chosen.get("may_take") is True,
        experiment=Experiment(chosen.get("experiment", Experiment.UNKNOWN)),
    )


def _known_fields(value: Any, record: type[Report] | type[Answer]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, not {type(value).__name__}")
    names = {field.name for field in fields(record)}
    return {name: entry for name, entry in value.items() if name in names}
