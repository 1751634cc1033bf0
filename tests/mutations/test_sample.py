"""A sample of the changes, the same in every run; `make test-faults ARGS="--part mutations"` tries all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crash.schedules import Schedule, sampled
from mutations.kinds import AT_A_TIME, KINDS, on_stage

pytestmark = pytest.mark.integration
SEED = 11
_OF_EACH = {"mutation": 9, "mutation-way": 9, "mutation-pair": 4, "created": 4, "by-hand": 6, "mutation-rest": 1}
_TRIED = {kind.name: kind.tried for kind in KINDS}


def tried(schedule: Schedule) -> tuple[Schedule, list[str]]:
    return schedule, _TRIED[schedule.kind](schedule)


def test_a_sample_of_changes_is_refused_heeded_or_named() -> None:
    chosen = [each for kind in KINDS for each in sampled(kind.schedules(), _OF_EACH[kind.name], seed=SEED)]
    with on_stage() as stage, ThreadPoolExecutor(AT_A_TIME) as threads:
        outcomes = list(threads.map(tried, chosen))
        assert {outcome for _, outcome, _ in stage.found} >= {"refused", "applied", "by hand"}
    wrong = [f"make test-faults ARGS={schedule}\n" + "\n".join(told) for schedule, told in outcomes if told]
    assert not wrong, "\n".join(wrong)
