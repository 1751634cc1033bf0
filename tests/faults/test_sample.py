"""A sample of each kind of fault between client and store, the same in every run; `make test-faults` tries all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crash.schedules import Kind, sampled
from faults.kinds import KINDS
from faults.servers import WORDINGS, running

pytestmark = pytest.mark.integration
SEED = 6


@pytest.fixture(scope="module", autouse=True)
def servers() -> Iterator[None]:
    with running(WORDINGS):
        yield


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_a_sample_of_schedules_changes_no_result(kind: Kind) -> None:
    on_gcs = [schedule for schedule in kind.schedules() if schedule.program == "gcs"]
    for schedule in sampled(on_gcs, 2, seed=SEED):
        wrong = kind.tried(schedule)
        assert not wrong, f"make test-faults ARGS={schedule}\n" + "\n".join(wrong)
