from __future__ import annotations

import json
from dataclasses import replace

import pytest

from resumable_sweep.contract.report import Answer, Experiment, NoticeKind, Report, Stage, parsed_answer, parsed_report

REPORT = Report(
    run_id="r", shard=1, attempt=7, sequence=3, stage=Stage.MIRRORING, items_done=4, items_recorded=5, generation=2
)


def test_a_report_reads_back() -> None:
    assert parsed_report(json.loads(REPORT.to_json())) == REPORT


def test_a_notice_reads_back() -> None:
    report = replace(REPORT, notice=NoticeKind.GCE_PREEMPTED, notice_deadline=1_800_000_000.5)
    assert parsed_report(json.loads(report.to_json())) == report


def test_a_report_of_an_older_sidecar_has_no_notice() -> None:
    fields = {name: value for name, value in json.loads(REPORT.to_json()).items() if not name.startswith("notice")}
    assert parsed_report(fields).notice is NoticeKind.NONE


def test_what_takes_the_machine_away_is_told_from_advice() -> None:
    assert [kind for kind in NoticeKind if kind.is_hard] == [
        NoticeKind.GCE_PREEMPTED,
        NoticeKind.EC2_INTERRUPTION,
        NoticeKind.AZURE_PREEMPT,
    ]


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert parsed_report({**json.loads(REPORT.to_json()), "colour": "red"}) == REPORT


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shard": -1}, "shard must be a whole number of 0 or more, not -1"),
        ({"attempt": "7"}, "attempt must be a whole number"),
        ({"sequence": True}, "sequence must be a whole number"),
        ({"items_done": 1.5}, "items_done must be a whole number"),
        ({"items_total": -1}, "items_total must be null or a whole number"),
        ({"generation": "2"}, "generation must be null or a whole number"),
        ({"run_id": 5}, "run_id must be a string"),
        ({"message": None}, "message must be a string"),
        ({"restored_bytes": -1}, "restored_bytes must be a whole number"),
        ({"items_done": 10**30}, f"items_done must be {2**48} at most"),
        ({"items_total": 2**48 + 1}, f"items_total must be {2**48} at most"),
        ({"generation": 10**30}, f"generation must be {2**48} at most"),
        ({"restore_bytes": 10**400}, f"restore_bytes must be {2**60} at most"),
        ({"notice_deadline": "soon"}, "notice_deadline must be null or Unix seconds, not 'soon'"),
        ({"notice_deadline": True}, "notice_deadline must be null or Unix seconds"),
        ({"notice_deadline": float("nan")}, "notice_deadline must be null or Unix seconds"),
        ({"notice": "Asteroid"}, "'Asteroid' is not a valid NoticeKind"),
        ({"stage": "sleeping"}, "'sleeping' is not a valid Stage"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parsed_report({**json.loads(REPORT.to_json()), **change})


@pytest.mark.parametrize("name", ["run_id", "shard", "attempt", "sequence", "stage"])
def test_a_missing_field_is_refused_by_name(name: str) -> None:
    fields = json.loads(REPORT.to_json())
    del fields[name]
    with pytest.raises(ValueError, match=f"the report lacks a field: .*{name}"):
        parsed_report(fields)


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a JSON object"):
        parsed_report(value)
    with pytest.raises(ValueError, match="expected a JSON object"):
        parsed_answer(value)


def test_an_answer_reads_back() -> None:
    answer = Answer(superseded=True, notice_noted=True, may_take=True, experiment=Experiment.SUCCEEDED)
    assert parsed_answer(json.loads(answer.to_json())) == answer


@pytest.mark.parametrize("superseded", ["true", 1, None])
def test_only_true_itself_means_superseded(superseded: object) -> None:
    assert parsed_answer({"superseded": superseded}) == Answer()
