"""Recordings of what an API server showed of a pod's end, played back to the decisions step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builders import record, snapshot, sweep

from sweep_operator.decide.classify import Finding, finding_of
from sweep_operator.decide.shard import step_of
from sweep_operator.kube.projection import node_view, pod_view
from sweep_operator.model.observed import NodeView, PodView, Presence
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, records_of, table_of

RECORDINGS = Path(__file__).parent / "decide" / "recordings"
UNREACHABLE_AFTER_SECONDS = 60.0

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known at one moment, `now` in Unix seconds; `seen` tells whether the pod was ever there."""

    now: float
    pod: PodView | None
    node: NodeView | None
    seen: bool

    @property
    def presence(self) -> Presence:
        """As the caches show it."""
        nodes = {self.node.name: self.node} if self.node else {}
        return Presence(pods=(self.pod,) if self.pod else (), nodes=nodes)

    @property
    def absent(self) -> bool:
        """Whether the API server says that there is no such pod any more."""
        return self.seen and self.pod is None


class Recording:
    """One recording: `source` says whether it was recorded, or transcribed, and from what."""

    def __init__(self, file: Path) -> None:
        found = json.loads(file.read_text())
        self.source: str = found["source"]
        self.began: float = found["began"]
        self.struck_at: float | None = found["struck_at"]
        self._steps: list[Json] = found["steps"]

    def moments(self) -> Iterator[Moment]:
        """Yield what is known after each step."""
        shown: dict[str, Json] = {}
        seen = False
        for step in self._steps:
            kind = step["kind"]
            before = {} if step["type"] == "ADDED" else shown.get(kind, {})
            shown[kind] = merged(before, step["object"])
            if step["type"] == "DELETED":
                del shown[kind]
            seen = seen or "Pod" in shown
            yield Moment(
                now=self.began + step["t"],
                pod=pod_view(shown["Pod"]) if "Pod" in shown else None,
                node=node_view(shown["Node"]) if "Node" in shown else None,
                seen=seen,
            )


def merged(before: Json, patch: Json) -> Json:
    """Return an object after a merge patch (RFC 7386)."""
    after = dict(before)
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = merged(after.get(name) or {}, value)
        else:
            after[name] = value
    return after


def findings_of(recording: Recording) -> list[Finding]:
    """Return what the evidence said in turn, also after the verdict; each once, without its words and its time."""
    said: list[Finding] = []
    incarnation = ""

    def look(moment: Moment) -> float | None:
        nonlocal incarnation
        if not incarnation and moment.pod is not None and moment.node is not None and moment.pod.node:
            incarnation = moment.node.incarnation
        found = finding_of(
            moment.pod,
            absent=moment.absent,
            incarnation=incarnation,
            presence=moment.presence,
            report=None,
            unreachable_after=UNREACHABLE_AFTER_SECONDS,
            now=moment.now,
        )
        told = replace(found, message="", again_at=None)
        if not said or said[-1] != told:
            said.append(told)
        return found.again_at

    _play(recording, look)
    return said


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A shard's record when its attempt had ended, and when that was, in seconds of the recording; None: never.

    `later` is the record at the recording's end, and `reclaim` what is told of a reclaim.
    """

    record: ShardRecord
    at: float | None = None
    reclaim: Reclaim | None = None
    later: ShardRecord


def verdict_of(recording: Recording, *, away: tuple[float, float] | None = None) -> Verdict:
    """Return what the operator makes of a recording.

    From and to the seconds of the recording that are `away` nobody looks: the operator is not there. Between two looks
    it is started anew each time, so that it knows what is in the status and nothing else.
    """
    verdict = Verdict(record=record(), later=record())

    def look(moment: Moment) -> float | None:
        nonlocal verdict
        (known,) = records_of(table_of([verdict.later]), shards=1)
        seen = snapshot(
            sweep([known]),
            *([moment.pod] if moment.pod else []),
            nodes=[moment.node] if moment.node else [],
            absent=frozenset({known.attempt} if moment.absent else ()),
        )
        step = step_of(known, seen, now=moment.now)
        if verdict.at is not None:
            verdict = replace(verdict, later=step.record)
        else:
            at = round(moment.now - recording.began, 1) if step.record.state not in UNDER_WAY else None
            verdict = Verdict(record=step.record, at=at, reclaim=step.reclaim, later=step.record)
        return step.again_at

    _play(recording, look, away=away)
    return verdict


def _play(
    recording: Recording, look: Callable[[Moment], float | None], *, away: tuple[float, float] | None = None
) -> None:
    """Look after each step, and whenever the look before has asked for: it returns when (Unix seconds), or None."""
    again_at: float | None = None
    last: Moment | None = None
    for moment in [*recording.moments(), None]:
        while last is not None and again_at is not None and (moment is None or again_at < moment.now):
            now = again_at
            again_at = look(replace(last, now=now))
            assert again_at is None or again_at > now, "a look that asks for itself again"
        if moment is not None:
            last = moment
            is_away = away is not None and away[0] <= moment.now - recording.began < away[1]
            again_at = recording.began + away[1] if away is not None and is_away else look(moment)
