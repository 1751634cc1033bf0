from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.outcome import MESSAGE_LIMIT_BYTES, Exit, Outcome, parsed_outcome


def test_it_reads_back_what_it_wrote() -> None:
    outcome = Outcome("Restored", "generation 3 of attempt 2", {"generation": 3})
    assert parsed_outcome(outcome.to_json()) == outcome


@given(st.text(max_size=9000), st.integers(0, 10**9))
def test_it_fits_into_what_the_kubelet_keeps_and_stays_readable(message: str, generation: int) -> None:
    text = Outcome("Failed", message, {"generation": generation}).to_json()
    assert len(text.encode()) <= MESSAGE_LIMIT_BYTES
    outcome = parsed_outcome(text)
    assert outcome is not None
    assert (outcome.reason, outcome.details) == ("Failed", {"generation": generation})
    assert message.startswith(outcome.message)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Traceback (most recent call last):",
        "5",
        "[]",
        '{"reason": "a"}',
        '{"reason":1,"message":2,"details":3}',
        "[" * 4096,
    ],
)
def test_a_crashs_own_words_are_no_outcome(text: str) -> None:
    assert parsed_outcome(text) is None


def test_exit_codes_are_apart_from_each_other_and_from_signals() -> None:
    assert len({code.value for code in Exit}) == len(Exit)
    assert all(code < 126 for code in Exit)
