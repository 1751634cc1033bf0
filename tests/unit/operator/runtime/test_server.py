from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from builders import NOW, ended, main, node, placed, pod, record, report

from resumable_sweep.contract.report import Answer, Experiment, NoticeKind
from sweep_operator.model.observed import NodeView, PodView
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.runtime.server import Server, answer_to, experiment_of
from sweep_operator.runtime.tokens import PodIdentity

ALL_ZERO = (ended(0, name="a"), ended(0, name="b"))


@pytest.mark.parametrize(
    ("fields", "where", "expected"),
    [
        ({"mains": ()}, node(), Experiment.UNKNOWN),
        ({"mains": (main(), ended(0))}, node(), Experiment.RUNNING),
        ({"mains": ALL_ZERO}, node(), Experiment.SUCCEEDED),
        ({"mains": ALL_ZERO}, None, Experiment.SUCCEEDED),
        ({"mains": (ended(0), ended(1))}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO, "deleted": True}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO, "disruption": "EvictionByEvictionAPI"}, node(), Experiment.FAILED),
        ({"mains": ALL_ZERO}, node(shutting_down=True), Experiment.FAILED),
        ({"mains": ALL_ZERO}, node(terminating="karpenter.sh/disrupted"), Experiment.FAILED),
        ({"mains": ALL_ZERO}, node(deleted=True), Experiment.FAILED),
        ({"mains": (main(),), "deleted": True}, node(), Experiment.RUNNING),
    ],
    ids=[
        "not started",
        "one still runs",
        "all exited 0",
        "all exited 0, nodes unreadable",
        "one exited 1",
        "exit 0 under deletion proves nothing",
        "exit 0 under eviction proves nothing",
        "exit 0 under a node's shutdown proves nothing",
        "exit 0 on a node about to be removed proves nothing",
        "exit 0 on a node that is being deleted proves nothing",
        "still flushing under deletion",
    ],
)
def test_what_the_sidecar_hears_of_the_experiment(
    fields: dict[str, Any], where: NodeView | None, expected: Experiment
) -> None:
    view: PodView = pod(**fields)
    assert experiment_of(view, where) is expected


GCE = NoticeKind.GCE_PREEMPTED
NOTICED = placed(notice=GCE, noticed_at=NOW, deadline=int(NOW) + 30, heir=2)
OVER = pod(mains=(ended(0),))


def answer(record: ShardRecord, sees: PodView, **says: Any) -> Answer:
    return answer_to(report(sees.attempt, **says), record, pod=sees, node=node())


@pytest.mark.parametrize(
    ("written", "attempt", "superseded", "may_take"),
    [
        (record(), 1, False, True),
        (NOTICED, 1, False, True),
        (NOTICED, 2, False, False),
        (record(attempt=2), 1, True, False),
        (record(attempt=2), 2, False, True),
        (NOTICED.changed(heir_ended=True), 2, False, False),
    ],
    ids=[
        "the only one",
        "one that has an heir is not superseded by it",
        "the heir has to wait, and is not superseded either",
        "one whose place was taken",
        "the one that has taken it",
        "an heir that is to go",
    ],
)
def test_who_has_the_shard(written: ShardRecord, attempt: int, superseded: bool, may_take: bool) -> None:
    heard = answer(written, pod(attempt))
    assert (heard.superseded, heard.may_take) == (superseded, may_take)


@pytest.mark.parametrize(
    ("written", "attempt", "says", "noted"),
    [
        (placed(), 1, GCE, False),
        (NOTICED, 1, GCE, True),
        (NOTICED, 1, NoticeKind.NONE, False),
        (NOTICED, 1, NoticeKind.AZURE_PREEMPT, False),
        (NOTICED, 2, GCE, False),
        (NOTICED.changed(deadline=0), 1, GCE, False),
    ],
    ids=["not written yet", "written", "none", "another one is written", "of another attempt", "it was withdrawn"],
)
def test_a_notice_is_noted_when_it_is_written(
    written: ShardRecord, attempt: int, says: NoticeKind, noted: bool
) -> None:
    assert answer(written, pod(attempt), notice=says).notice_noted is noted


@pytest.mark.parametrize(
    ("written", "says", "expected"),
    [
        (placed(), NoticeKind.NONE, Experiment.SUCCEEDED),
        (placed(), GCE, Experiment.FAILED),
        (NOTICED, NoticeKind.NONE, Experiment.FAILED),
        (NOTICED.changed(deadline=0), NoticeKind.NONE, Experiment.FAILED),
        (placed(), NoticeKind.EC2_REBALANCE, Experiment.SUCCEEDED),
    ],
    ids=["undisturbed", "noticed", "noted", "withdrawn", "advised"],
)
def test_exit_0_after_a_notice_proves_nothing(written: ShardRecord, says: NoticeKind, expected: Experiment) -> None:
    assert answer(written, OVER, notice=says).experiment is expected


async def test_a_pod_that_ends_while_it_reports_is_no_error() -> None:
    sender = pod()

    async def review(token: str) -> PodIdentity:
        return PodIdentity(namespace=sender.namespace, uid=sender.uid)

    async def body() -> None:
        raise ConnectionResetError("Connection lost")

    # Whatever is none of this is not asked.
    nothing: Any = None
    known: Any = SimpleNamespace(is_busy=False, identity_of=review)
    index: Any = SimpleNamespace(by_uid={sender.uid: sender}.get)
    server = Server(
        sweeps=nothing,
        pods=index,
        nodes=nothing,
        reports=nothing,
        attention=nothing,
        tokens=known,
        queue=nothing,
        health=nothing,
        leadership=nothing,
        metrics=nothing,
        exposition=nothing,
    )
    request: Any = SimpleNamespace(headers={"Authorization": "Bearer t"}, json=body)
    assert (await server._answer(request)).status == 400
