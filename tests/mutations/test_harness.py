"""The harness finds what it is there for: an operator that is broken, and a refusal that helps nobody."""

from __future__ import annotations

import pytest

from crash.schedules import parsed_schedule
from mutations import kinds, stage, transition
from mutations.fields import fields, is_frozen
from mutations.kinds import KINDS, on_stage
from mutations.mutation import Mutation, mutations_of, parsed_mutations
from mutations.sweeps import sweep_with
from mutations.transition import wrong_with_condition, wrong_with_refusal, wrong_with_results
from rig.api import ApiError

_TRIED = {kind.name: kind.tried for kind in KINDS}


def test_every_field_can_be_changed_and_is_changed_in_every_phase() -> None:
    named = {(schedule.how.partition("=")[0], schedule.program) for schedule in kinds._singles()}
    assert named == {(str(field), phase) for field in fields() for phase in kinds.PHASES}


def test_a_field_of_tomorrow_is_changed_without_a_word_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    field = next(each for each in fields() if str(each) == "keepPods")
    tomorrow = type(field)(("tomorrow",), {"type": "integer", "minimum": 3, "maximum": 9})
    monkeypatch.setattr("mutations.mutation._by_name", lambda: {"tomorrow": tomorrow})
    found = mutations_of(tomorrow, sweep_with(""))
    assert {each.how for each in found} >= {"least", "most", "below", "above", "type", "null"}
    assert Mutation("tomorrow", "above").applied(sweep_with(""))["tomorrow"] == 10


def test_a_name_brings_the_same_change_about_again() -> None:
    (mutation,) = parsed_mutations("checkpoint.env[].valueFrom.secretKeyRef.key=other")
    assert mutation.applied(sweep_with(mutation.field)) == mutation.applied(sweep_with(mutation.field))
    with pytest.raises(ValueError, match=r"no field 'checkpoint\.nothing'"):
        parsed_mutations("checkpoint.nothing=other")


def test_what_is_frozen_is_told_from_the_definition_s_own_rules() -> None:
    frozen = {str(field) for field in fields() if is_frozen(field)}
    assert {"shards", "runId", "items.list", "checkpoint.url"} <= frozen
    assert not {"parallelism", "checkpoint.interval", "template.spec"} & frozen


@pytest.mark.parametrize(
    ("mutation", "said", "wrong"),
    [
        ("checkpoint.interval=empty", "spec.checkpoint.interval: Invalid value", ""),
        ("checkpoint.env[].name=empty", "spec.checkpoint.env[3].name: Invalid value", ""),
        ("checkpoint.interval=empty", "spec.checkpoint.url: Invalid value", "does not name the field"),
        ("checkpoint.progress=last", "spec.completion: with checkpoint.progress None nothing is recorded", ""),
        ("checkpoint.interval=empty", "it is invalid", "does not name the field"),
        ("shards=other", "spec.shards: shards cannot change", "does not say what to do"),
    ],
)
def test_a_refusal_must_name_the_field_and_the_mend(mutation: str, said: str, wrong: str) -> None:
    found = wrong_with_refusal(parsed_mutations(mutation), ApiError(422, said))
    assert wrong in "".join(found)
    assert bool(found) == bool(wrong)


def test_a_refusal_must_be_one_of_the_api_server_s() -> None:
    assert wrong_with_refusal(parsed_mutations("shards=other"), ApiError(500, "spec.shards: panic"))


def test_a_condition_must_name_the_field() -> None:
    mutations = parsed_mutations("template.spec.priorityClassName=other")
    named = {"reason": "TemplateForbidden", "message": "priorityClassName is other-1: leave it out"}
    assert wrong_with_condition(mutations, named) == []
    assert wrong_with_condition(mutations, {**named, "message": "no pod"})
    assert wrong_with_condition(mutations, {})


def test_results_must_be_those_of_an_unchanged_sweep() -> None:
    done = {"merged": {"sha256": "a"}, "done": 4}
    assert wrong_with_results(done, reference="a") == []
    assert wrong_with_results(done, reference="b")
    assert wrong_with_results({**done, "done": 3}, reference="a")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("flaw", "schedule", "said"),
    [
        ("tells_of_no_change", "mutation/complete/0/parallelism=least/0", "the operator to heed generation 2"),
        ("believes_templates", "created/created/0/template.spec.securityContext=type/0", "a look failed"),
        ("never_rests", "mutation-rest/all/0//0", "looks within"),
    ],
)
def test_an_operator_that_is_broken(flaw: str, schedule: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transition, "_HEEDED_SECONDS", 5.0)
    monkeypatch.setattr("mutations.played.WAIT_SECONDS", 15.0)
    monkeypatch.setattr(stage, "_QUIET_LOOKS", 2)
    chosen = parsed_schedule(schedule)
    with on_stage(at_a_time=1, flaw=f"mutations.flaws:{flaw}"):
        wrong = _TRIED[chosen.kind](chosen)
    assert any(said in text for text in wrong), wrong
