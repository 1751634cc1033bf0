"""The harness finds what it is there for: an operator with a mistake in it, which a calm run does not show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crash.schedules import parsed_schedule
from fire import ground, stand
from fire.kinds import calm, tried

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ground.running():
        calm("node")
        yield


def test_a_sweep_to_which_nothing_happens_comes_to_what_it_should() -> None:
    assert calm("node").wrong == ()
    assert calm("node").came_to["merged"]["items"] == 6


def test_an_attempt_number_used_again() -> None:
    wrong = tried(parsed_schedule("operator-kill/node/1/read/0"), flaw="uses_numbers_again")
    assert any("was made twice" in text for text in wrong), wrong


def test_a_cache_that_is_believed() -> None:
    # Which write falls while both attempts run depends on how many of a status fall together.
    schedules = [parsed_schedule(f"operator-travel/node/{at}/pods/0") for at in (7, 8, 9)]
    wrong = (text for schedule in schedules for text in tried(schedule, flaw="believes_its_cache"))
    assert any("with which nothing is wrong" in text for text in wrong)


def test_an_error_after_which_nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand, "STILL_SECONDS", 5.0)
    schedule = parsed_schedule("operator-refused/node/1/500-replace-status/1")
    assert any("waited for in vain" in text for text in tried(schedule, flaw="gives_up_at_an_error"))
