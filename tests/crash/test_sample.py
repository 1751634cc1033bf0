"""A sample of each kind of fault, the same in every run; `make test-faults` tries all of them."""

from __future__ import annotations

import pytest

from crash import damage, disk_faults, kills, load, power
from crash.schedules import Kind, sampled

SEED = 20


@pytest.mark.parametrize(
    ("kind", "count"),
    [(kills.KIND, 60), (power.KIND, 60), (disk_faults.KIND, 50), (damage.KIND, 100), (load.KIND, 4)],
    ids=["kill", "power", "disk", "damage", "load"],
)
def test_a_sample_of_schedules_changes_no_result(kind: Kind, count: int) -> None:
    for schedule in sampled(kind.schedules(), count, seed=SEED):
        wrong = kind.tried(schedule)
        assert not wrong, f"make test-faults ARGS={schedule}\n" + "\n".join(wrong)
