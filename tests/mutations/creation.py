"""A sweep is created as another one would be after a change: what the API server and the operator make of it."""

from __future__ import annotations

from crash.schedules import Schedule
from mutations.fields import fields, is_frozen
from mutations.mutation import parsed_mutations
from mutations.played import Played, Stuck
from mutations.stage import ApiError, Stage
from mutations.sweeps import sweep_with
from mutations.transition import (
    APPLIED,
    CONDITION,
    REFUSED,
    complaint_of,
    wrong_with_condition,
    wrong_with_refusal,
    wrong_with_results,
)

_ELSEWHERE = ("items", "resumeFrom")
"""Whoever changes these wants other results."""


def tried_anew(stage: Stage, namespace: str, schedule: Schedule) -> list[str]:
    """Return what went wrong: it is refused by the field's name, comes to its end, or says what keeps it from that.

    What may be changed later is changed back then, and the sweep has to come to its end after all.
    """
    mutations = parsed_mutations(schedule.how)
    usual = sweep_with(mutations[0].field)
    spec = usual
    for mutation in mutations:
        spec = mutation.applied(spec)
    played = Played(stage, namespace, spec)
    outcome, said, wrong = APPLIED, "", []
    try:
        played.create()
        played.wait(lambda: played.phase == "Complete" or bool(complaint_of(played)), "an end, or a word about it")
        if played.phase != "Complete":
            complaint = complaint_of(played)
            outcome, said = CONDITION, f"{complaint.get('reason')}: {complaint.get('message')}"
            wrong += wrong_with_condition(mutations, complaint)
            by_name = {str(field): field for field in fields()}
            if not any(is_frozen(by_name[mutation.field]) for mutation in mutations):
                wrong += _mended(played, usual)
        elif not mutations[0].field.startswith(_ELSEWHERE):
            wrong += wrong_with_results(played.status, reference=stage.reference)
    except ApiError as error:
        outcome, said = REFUSED, str(error).partition(": ")[2]
        wrong += wrong_with_refusal(mutations, error)
    except Stuck as stuck:
        wrong.append(str(stuck))
    wrong += stage.defects(of=f"{played.namespace}/{played.name}")
    stage.found.append((str(schedule), outcome, said))
    return wrong


def _mended(played: Played, spec: dict[str, object]) -> list[str]:
    had_failed = played.phase == "Failed"
    played.put(spec)
    if had_failed:
        played.retry("all")
    played.wait(lambda: played.phase == "Complete", "the sweep to heal, once it is mended")
    return wrong_with_results(played.status, reference=played.stage.reference)
