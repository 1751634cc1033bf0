"""Sweeps that stay in a phase for as long as the stage stands: what the API server refuses leaves no trace on them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence

from mutations.mutation import Mutation
from mutations.played import Played
from mutations.stage import RESIDENTS, ApiError, Stage
from mutations.sweeps import sweep_with


class Resident:
    """One sweep in one phase."""

    def __init__(self, stage: Stage, phase: str, field: str) -> None:
        self.phase = phase
        self._has_matrix = field.startswith("items.matrix")
        self.played = Played(stage, RESIDENTS, sweep_with(field, phase=phase))
        self._alone = threading.Lock()
        self._is_there = False

    def refusal(self, mutations: Sequence[Mutation]) -> ApiError | None:
        """Return why the API server does not take a change, None where it would.

        A change that a dry run refuses is asked for in earnest.
        """
        with self._alone:
            if not self._is_there:
                self.played.bring_to(self.phase)
                self._is_there = True
            there = self.played.get()
            changed = copy.deepcopy(there["spec"])
            for mutation in mutations:
                changed = mutation.applied(changed)
            try:
                self.played.put(changed, dry=True)
            except ApiError:
                try:
                    self.played.put(changed)
                except ApiError as error:
                    return error
                raise AssertionError(f"a dry run refused what was taken: {mutations}") from None
            return None

    def leave(self) -> list[str]:
        """Let the sweep go on to its end, and return what is wrong with that."""
        from mutations.transition import wrong_with_results

        played = self.played
        if not self._is_there:
            return []
        played.let_go()
        if self.phase == "deleting":
            played.let_be_deleted()
            played.wait(lambda: played.seen is not None and played.seen.gone, "the resident to be gone")
            return []
        if self.phase == "suspended":
            played.put({**played.get()["spec"], "suspend": False})
        if self.phase == "failed":
            played.retry("all")
        played.wait(lambda: played.phase == "Complete", "the resident's end")
        stage = played.stage
        reference = stage.reference_of_matrix if self._has_matrix else stage.reference
        return wrong_with_results(played.status, reference=reference)


def resident(stage: Stage, phase: str, field: str) -> Resident:
    """Return the sweep in a phase that has such a field."""
    variant = ".".join(field.split(".")[:2]) if field.startswith("items.") else ""
    with stage.residents_alone:
        return stage.residents.setdefault((phase, variant), Resident(stage, phase, field))


def all_left(stage: Stage) -> list[str]:
    """Let all of them go on to their ends, and return what is wrong with that."""
    return [wrong for each in stage.residents.values() for wrong in each.leave()]
