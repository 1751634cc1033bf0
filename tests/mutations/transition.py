"""A sweep in a phase is changed: what the API server and the operator make of it, and what of that is wrong."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Sequence
from typing import Any

from crash.schedules import Schedule
from mutations import residents
from mutations.fields import ANY_ITEM, ANY_KEY, Field, fields, is_frozen
from mutations.mutation import Mutation, parsed_mutations
from mutations.played import Played, Stuck
from mutations.stage import ApiError, Stage
from mutations.sweeps import ITEMS, sweep_with

APPLIED, REFUSED, CONDITION, GONE = "applied", "refused", "condition", "gone"
REVERTED_AT_ONCE = 1
"""`at` of a schedule whose change is taken back before anybody else does anything."""
_HEEDED_SECONDS = 60.0
_MEND = "keep it, or create a sweep under another name"
_ATTEMPTS_MAY_END = ("suspend", "parallelism", "reclaim.")
_PATTERNS = {ANY_ITEM: r"\[\d+\]", ANY_KEY: r"[.\[][^:]+"}
"""How the API server writes entries of lists and of maps."""
_MANY_TIMES = 4
"""So many times as often as an unchanged one a sweep may be written that is changed, beside once a second."""


class Transition:
    """One of them; `run` tries it."""

    def __init__(self, stage: Stage, namespace: str, schedule: Schedule) -> None:
        self._stage = stage
        self._schedule = schedule
        self._mutations = parsed_mutations(schedule.how)
        self._played = Played(stage, namespace, sweep_with(self._mutations[0].field, phase=self._phase))
        self._before: dict[str, Any] = {}
        self.outcome = ""
        self.said = ""

    @property
    def _phase(self) -> str:
        return self._schedule.program

    def run(self) -> list[str]:
        """Return what went wrong."""
        resident = residents.resident(self._stage, self._phase, self._mutations[0].field)
        refusal = resident.refusal(self._mutations)
        if refusal is not None:
            self._stage.found.append((str(self._schedule), REFUSED, str(refusal).partition(": ")[2]))
            return wrong_with_refusal(self._mutations, refusal)
        return self._run()

    def _run(self) -> list[str]:
        started = time.monotonic()
        played = self._played
        try:
            played.bring_to(self._phase)
            attempts = played.status.get("attempts", 0)
            wrong = self._change()
            played.let_go()
            if self._phase == "deleting":
                wrong += self._deleted()
            else:
                wrong += self._ended()
                wrong += self._wrong_with_attempts(attempts)
        except Stuck as stuck:
            wrong = [str(stuck)]
        finally:
            played.let_go()
        wrong += self._stage.defects(of=f"{played.namespace}/{played.name}")
        wrong += self._wrong_with_writes(time.monotonic() - started)
        self._stage.found.append((str(self._schedule), self.outcome, self.said))
        return wrong

    def _change(self) -> list[str]:
        """Make the change; where it is taken, wait until the operator has heeded it."""
        played = self._played
        self._before = played.get()["spec"]
        changed = copy.deepcopy(self._before)
        for mutation in self._mutations:
            changed = mutation.applied(changed)
        try:
            played.put(changed)
        except ApiError as error:
            return [f"a sweep in the same phase took this change, and this one does not: {error}"]
        self.outcome = APPLIED
        if self._schedule.at == REVERTED_AT_ONCE:
            played.put(self._before)
        if self._phase != "deleting":
            played.wait(
                lambda: played.has_heeded() or (played.seen is not None and played.seen.gone),
                f"the operator to heed generation {played.written}",
                seconds=_HEEDED_SECONDS,
            )
        return []

    def _ended(self) -> list[str]:
        """Let the sweep go on to its end; where it says that something is amiss, take the change back."""
        played = self._played
        if self._phase == "failed":
            played.retry("all")
        elif self._phase == "suspended":
            self._resume()
        played.wait(lambda: self._has_ended() or self._is_amiss(), "an end, or a word of what is amiss")
        wrong = []
        if not self._has_ended():
            wrong = self._reverted()
        if played.seen is not None and played.seen.gone:
            if not any(mutation.field == "ttlSecondsAfterFinished" for mutation in self._mutations):
                wrong.append("the sweep is gone, and nobody has deleted it")
            self.outcome = GONE
        elif self._phase == "complete" and self.outcome == APPLIED:
            wrong += self._wrong_with_retention()
        return wrong + wrong_with_results(played.status, reference=self._stage.reference)

    def _resume(self) -> None:
        if any(mutation.field == "suspend" for mutation in self._mutations) and self.outcome == APPLIED:
            return
        self._before = {**self._before, "suspend": False}
        self._played.put({**self._played.get()["spec"], "suspend": False})

    def _has_ended(self) -> bool:
        seen = self._played.seen
        return self._played.phase == "Complete" or (seen is not None and seen.gone)

    def _is_amiss(self) -> bool:
        return bool(complaint_of(self._played))

    def _reverted(self) -> list[str]:
        played = self._played
        complaint = complaint_of(played)
        self.outcome, self.said = CONDITION, f"{complaint.get('reason')}: {complaint.get('message')}"
        told = played.events(warnings=True) if complaint.get("reason") == "ShardsFailed" else []
        wrong = wrong_with_condition(self._mutations, complaint, told=told)
        had_failed = played.phase == "Failed"
        played.put({**self._before, "suspend": False})
        if had_failed:
            played.wait(played.has_heeded, "the operator to heed that the change is taken back")
            played.retry(f"all@{played.written}")
        played.wait(self._has_ended, "the sweep to heal, once the change is taken back")
        return wrong

    def _wrong_with_retention(self) -> list[str]:
        """Retention goes on after the end: what keeps it from working is said by a condition of its own."""
        played = self._played
        of_retention = any(mutation.field.startswith("checkpoint.keep") for mutation in self._mutations)
        if not of_retention or "keep" not in played.get()["spec"]["checkpoint"]:
            return []
        played.wait(lambda: bool(played.condition("Retained")), "a word about retention")
        said = played.condition("Retained")
        if said["status"] == "True":
            return []
        self.outcome, self.said = CONDITION, f"{said['reason']}: {said['message']}"
        return wrong_with_condition(self._mutations, said)

    def _deleted(self) -> list[str]:
        played = self._played
        played.let_be_deleted()
        played.wait(lambda: played.seen is not None and played.seen.gone, "the sweep to be gone")
        return []

    def _wrong_with_attempts(self, before: int) -> list[str]:
        """Pods that run keep what they were made with: a change ends none of them, but where it asks for that."""
        if self._phase != "running" or self.outcome != APPLIED:
            return []
        after = self._played.status.get("attempts", 0)
        asked = any(mutation.field.startswith(_ATTEMPTS_MAY_END) for mutation in self._mutations)
        return [f"attempts went from {before} to {after}"] if after != before and not asked else []

    def _wrong_with_writes(self, seconds: float) -> list[str]:
        seen, usual = self._played.seen, self._stage.usual_versions
        if seen is None or not usual or seen.versions <= _MANY_TIMES * usual + seconds:
            return []
        return [f"{seen.versions} versions of the sweep within {seconds:.0f} s, an unchanged one has {usual}"]


def complaint_of(played: Played) -> dict[str, Any]:
    """Return the condition that says what keeps a sweep from its end, {} where none does."""
    if not played.has_heeded():
        return {}
    for kind, status in (("Failed", "True"), ("Suspended", "True"), ("Healthy", "False")):
        found = played.condition(kind)
        if found.get("status") == status:
            return played.condition("Complete") if kind == "Failed" else found
    return {}


def wrong_with_refusal(mutations: Sequence[Mutation], error: ApiError) -> list[str]:
    """Return what is wrong with a refusal: it must name the field, and of what is frozen also the mend."""
    said = str(error)
    if error.status not in (400, 422):
        return [f"refused with status {error.status}: {said}"]
    by_name = {str(each): each for each in fields()}
    if not any(_is_named(by_name[mutation.field], said) for mutation in mutations):
        return [f"the refusal does not name the field: {said}"]
    frozen = all(is_frozen(by_name[mutation.field]) for mutation in mutations)
    if frozen and re.search(r"cannot (be added, )?changed?", said) and _MEND not in said:
        return [f"the refusal does not say what to do: {said}"]
    return []


def wrong_with_condition(
    mutations: Sequence[Mutation], condition: dict[str, Any], *, told: Sequence[str] = ()
) -> list[str]:
    """Return what is wrong with a condition: it must have a reason, and name the field; or else `told`, events, do."""
    if not condition.get("reason") or not condition.get("message"):
        # A suspension is its own message.
        return [] if condition.get("reason") == "Suspended" else [f"a condition without reason or message: {condition}"]
    said = " ".join([condition["reason"], condition["message"], *told]).lower()
    for mutation in mutations:
        names = [part.lower() for part in re.findall(r"\w+", mutation.field)][-2:]
        if any(name in said or name.rstrip("s") in said for name in names):
            return []
    return [f"the condition names none of {', '.join(map(str, mutations))}: {condition}"]


def wrong_with_results(status: dict[str, Any], *, reference: str) -> list[str]:
    """Return what is wrong with a sweep's results: they must be those of a sweep that nobody has changed."""
    merged = status.get("merged") or {}
    wrong = []
    if merged.get("sha256") != reference:
        wrong.append(f"the results are {merged}, those of an unchanged sweep have the digest {reference}")
    if status.get("done") != len(ITEMS):
        wrong.append(f"{status.get('done')} of {len(ITEMS)} items are done")
    return wrong


def _is_named(field: Field, said: str) -> bool:
    """Return whether a refusal names the field, something in it, or just one that holds it."""
    if len(field.path) > 1 and str(field) in said:
        return True  # by a rule about two fields, which the API server reports under the other one
    for end in range(len(field.path), 0, -1):
        path = "".join(_PATTERNS.get(part, rf"\.{re.escape(part)}") for part in field.path[:end])
        ends = "" if end == len(field.path) else r"(?![\w.\[])"
        if re.search(rf"\bspec{path}{ends}", said):
            return True
    return False
