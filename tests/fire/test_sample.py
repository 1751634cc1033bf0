"""A sample of each kind of fault around the operator, the same in every run; `make test-faults` tries all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crash.schedules import parsed_schedule
from fire import ground
from fire.kinds import tried

pytestmark = pytest.mark.integration

# By name, because to count all schedules takes as long as to try these. Of kills: between a status and what it
# orders, between an order and its answer, and after it; in the middle of a reclaim, of the merge, and of the end.
SAMPLE = (
    *("operator-kill/node/2/unsent/0", "operator-kill/node/4/unread/0", "operator-kill/node/5/read/0"),
    *("operator-kill/node/11/unsent/0", "operator-kill/node/12/unread/0", "operator-kill/node/16/read/0"),
    *("operator-lost/node/3/answer/0", "operator-lost/node/12/answer/0"),
    *("operator-travel/node/9/all/0", "operator-travel/node/14/pods/0"),
    *("operator-drop/node/6/one-pods/0", "operator-drop/node/12/gap-pods/0", "operator-drop/node/3/gap-nodes/0"),
    *("operator-drop/node/4/pair-pods/26", "operator-refused/node/5/429-delete-pods/2"),
    *("operator-refused/node/2/429-replace-status/2", "operator-refused/node/2/503-create-pods/3"),
    "operator-twins/node/0/both/0",
)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ground.running():
        yield


@pytest.mark.parametrize("schedule", SAMPLE)
def test_a_sample_of_schedules_changes_no_result(schedule: str) -> None:
    wrong = tried(parsed_schedule(schedule))
    assert not wrong, f"make test-faults ARGS={schedule}\n" + "\n".join(wrong)
