"""Passing over an attempt that simply goes on changes nothing: the whole judgement is the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import pytest
from builders import NODE, NOW, ended, main, node, placed, pod, report, restore, snapshot, sweep

from resumable_sweep.contract.outcome import Exit, Outcome
from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.decide import decide
from sweep_operator.decide import shard as shard_module
from sweep_operator.decide import summary as summary_module
from sweep_operator.decide.undisturbed import is_undisturbed
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.observed import ContainerView, Creation
from sweep_operator.model.plan import Plan
from sweep_operator.model.problem import Problem
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

IMAGE = "main:1"
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
MIRROR = ContainerView(name="sweep-mirror", started=True, started_at=NOW - 500)
PROGRAM = main(image=IMAGE, image_id=f"main@{DIGEST}", started_at=NOW - 500)


def left(stage: Stage, **fields: Any) -> Outcome:
    return Outcome("Said", "what it said", asdict(report(stage=stage, **fields)))


# What an attempt that simply goes on may be different in, piece of evidence by piece of evidence.
WAYS: list[tuple[str, dict[str, Any]]] = [
    *(("pod", {"phase": phase}) for phase in ("Pending", "Succeeded", "Failed", "Unknown")),
    *(("pod", {"deleted": True, "deleted_at": NOW + late}) for late in (-60.0, 0.0)),
    *(("pod", {"disruption": by}) for by in ("EvictionByEvictionAPI", "TerminationByKubelet", "ByWhom")),
    *(("pod", {"reason": reason}) for reason in ("Evicted", "Terminated", "DeadlineExceeded", "OutOfcpu")),
    ("pod", {"node": ""}),
    ("pod", {"node": "node-b"}),
    ("pod", {"mains": ()}),
    ("pod", {"mains": (replace(PROGRAM, started=False, waiting_reason="ErrImagePull"),)}),
    ("pod", {"mains": (PROGRAM, replace(PROGRAM, name="side", started=False))}),
    ("pod", {"mains": (PROGRAM, replace(PROGRAM, name="side", waiting_reason="CrashLoopBackOff"))}),
    *(("pod", {"mains": (ended(code, at=at),)}) for code in (0, 1, 137, 143) for at in (NOW - 100, NOW)),
    ("pod", {"mains": (PROGRAM, replace(PROGRAM, name="side", exit_code=1))}),
    ("pod", {"mains": (replace(PROGRAM, image_id=f"main@{OTHER}"),)}),
    ("pod", {"mains": (replace(PROGRAM, image_id=f"main@{OTHER}", image=f"main@{OTHER}"),)}),
    ("pod", {"mirror": None}),
    ("pod", {"mirror": replace(MIRROR, exit_code=1)}),
    ("pod", {"mirror": replace(MIRROR, started=False, waiting_reason="CrashLoopBackOff")}),
    *(("pod", restore(code)) for code in (None, 1, Exit.COMPLETE, Exit.DRIFT)),
    ("pod", restore(0, head_attempt=9)),
    ("pod", {"restore_outcome": left(Stage.MIRRORING, sequence=9, items_done=7, restore_problem="Damaged")}),
    *(("pod", {"mirror_outcome": left(stage)}) for stage in (Stage.COMPLETE, Stage.SEALED)),
    ("node", {"ready": "False"}),
    ("node", {"ready": "Unknown", "ready_since": NOW - 59}),
    ("node", {"ready": "Unknown", "ready_since": NOW - 600}),
    ("node", {"shutting_down": True}),
    ("node", {"terminating": "ToBeDeletedByClusterAutoscaler"}),
    ("node", {"deleted": True}),
    ("node", {"uid": "another"}),
    ("node", {"boot_id": "second"}),
    *(("report", {"stage": stage}) for stage in Stage if stage is not Stage.MIRRORING),
    *(("report", {"notice": kind}) for kind in NoticeKind if kind),
    ("report", {"problem": "StoreUnreachable", "message": "no way"}),
    ("report", {"restore_problem": "CheckpointDamaged", "restore_message": "gone"}),
    ("report", {"items_done": 3, "items_recorded": 5}),
    ("report", {"items_done": 3, "items_recorded": 5, "items_total": 9}),
    ("report", {"generation": 4}),
    *(("record", {"state": state}) for state in (ShardState.LEAVING, ShardState.STOPPING)),
    ("record", {"signal": Signal.UNPROVEN, "since": NOW - 60}),
    ("record", {"signal": Signal.DRIFT, "since": NOW - 60}),
    ("record", {"signal": Signal.NODE_SILENT, "since": NOW - 60, "silenced": 7}),
    ("record", {"notice": NoticeKind.GCE_PREEMPTED, "noticed_at": NOW - 9, "deadline": int(NOW) + 21}),
    ("record", {"notice": NoticeKind.GCE_PREEMPTED, "noticed_at": NOW - 99, "deadline": 0}),
    ("record", {"notice": NoticeKind.EC2_REBALANCE, "noticed_at": NOW - 9}),
    ("record", {"notice": NoticeKind.GCE_PREEMPTED, "noticed_at": NOW - 9, "deadline": int(NOW) + 21, "heir": 2}),
    ("record", {"heir": 2}),
    ("record", {"node": ""}),
    ("record", {"node": f"{NODE}/"}),
    ("record", {"node": "node-b/abcdef"}),
    ("record", {"base": 3, "done": 2, "recorded": 2}),
    ("record", {"base": 1, "done": 4, "recorded": 9, "barren": 2, "setbacks": 3}),
    ("sight", {"forbidden": {"pod-0-1": Problem(reason="TemplateForbidden", message="hostPath")}}),
    ("sight", {"forbidden": {"pod-0-7": Problem(reason="TemplateForbidden", message="hostPath")}, "more": [pod(7)]}),
    ("sight", {"creations": {1: Creation(created_at=NOW - 9, problem="TemplateForbidden", message="hostPath")}}),
    ("sight", {"creations": {1: Creation(created_at=NOW - 9, seen=True)}}),
    ("sight", {"leases": {NODE: LeaseView(unrenewed_seconds=50.0, renewal_seconds=10.0)}, "heard_at": {1: NOW - 60}}),
    ("sight", {"absent": frozenset({1})}),
    ("sight", {"placements": {1: node(uid="before").incarnation}}),
    ("sight", {"nodes_visible": False}),
    ("sight", {"heard_at": {1: NOW - 3}}),
    ("sight", {"reports": {}}),
    ("sight", {"nodes": []}),
]


def seen(*ways: tuple[str, dict[str, Any]]) -> Snapshot:
    """Return what is known of a sweep whose one attempt simply goes on, but for those ways in which it does not."""
    fields: dict[str, dict[str, Any]] = {kind: {} for kind in ("pod", "node", "report", "record", "sight")}
    for kind, different in ways:
        fields[kind] |= different
    there = pod(**{"mains": (PROGRAM,), "mirror": MIRROR, **restore(0), **fields["pod"]})
    sight = {
        "nodes": [node(**{"boot_id": "first", **fields["node"]})],
        "reports": {1: report(sequence=2, **fields["report"])},
        "heard_at": {1: NOW - 200},
        "listening_since": NOW - 400,
        "attentive_since": NOW - 400,
        **fields["sight"],
    }
    standing = {"node": f"{NODE}/{node(boot_id='first').incarnation}", "base": 1, **fields["record"]}
    known = {"images": {IMAGE: (DIGEST,)}, "attempts": 2, "items_sha256": "0" * 64, "items_total": 9}
    return snapshot(sweep([placed(**standing)], status=known), there, *sight.pop("more", []), **sight)


def glances(found: Iterable[Snapshot]) -> int:
    """Return at how many of these sweeps a glance suffices."""
    return sum(
        is_undisturbed(
            known.sweep.status.records[0],
            known.presence.pods[0],
            known,
            report=known.reports.get(1),
            images=known.sweep.status.images,
        )
        for known in found
    )


@pytest.fixture
def judged_in_full(monkeypatch: pytest.MonkeyPatch) -> Any:
    def judge(known: Snapshot) -> Plan:
        with monkeypatch.context() as patched:
            patched.setattr(shard_module, "is_undisturbed", lambda *_, **__: False)
            patched.setattr(summary_module, "_is_at_peace", lambda *_: False)
            return decide(known, NOW)

    return judge


def test_an_attempt_that_simply_goes_on_is_passed_over() -> None:
    assert glances([seen(), seen(("report", {"items_done": 3}))]) == 2


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_piece_of_evidence_is_judged_as_in_full(way: tuple[str, dict[str, Any]], judged_in_full: Any) -> None:
    assert decide(seen(way), NOW) == judged_in_full(seen(way))


def test_two_pieces_of_evidence_are_judged_as_in_full(judged_in_full: Any) -> None:
    pairs = list(combinations(WAYS, 2))
    wrong = [pair for pair in pairs if decide(seen(*pair), NOW) != judged_in_full(seen(*pair))]
    assert not wrong
    # Not because nothing is ever passed over, nor everything.
    assert 20 < glances(seen(*pair) for pair in pairs) < len(pairs) / 2
