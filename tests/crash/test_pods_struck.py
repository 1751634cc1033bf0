"""A sample of the deaths of restore, mirror and pods, the same in every run; `make test-faults` tries all of them."""

from __future__ import annotations

import pytest

from crash.pods_struck import KINDS, calm
from crash.schedules import Kind, sampled
from crash.styles import STYLES

SEED = 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_a_sample_of_deaths_changes_nothing(kind: Kind) -> None:
    for schedule in sampled(kind.schedules(), 3 * len(STYLES) // 2, seed=SEED):
        wrong = kind.tried(schedule)
        assert not wrong, f"make test-faults ARGS={schedule}\n" + "\n".join(wrong)


@pytest.mark.parametrize("style", STYLES)
def test_a_run_that_nothing_happens_to_is_mirrored_at_many_moments(style: str) -> None:
    undisturbed = calm(style)
    assert undisturbed.wrong == ()
    names = [made.name for made in undisturbed.mirrored]
    # A take and a base were written by the restore: each generation is one link more.
    assert names.count("link") >= 4
    assert {"get", "list", "write", "fsync", "replace"} <= set(names)
