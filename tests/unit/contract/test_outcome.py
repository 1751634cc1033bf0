from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.outcome import (
    ATTEMPT_MESSAGE_LIMIT_BYTES,
    MESSAGE_LIMIT_BYTES,
    Exit,
    Outcome,
    parsed_outcome,
)
from resumable_sweep.contract.report import Report, Stage, parsed_report


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


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_sentences_in_the_details_are_cut_as_well_and_nothing_else(message: str, restore_message: str) -> None:
    report = Report(
        run_id="r" * 63,
        shard=9999,
        attempt=99,
        sequence=10**13,
        stage=Stage.SEALED,
        problem="ProgressWentBackwards",
        message=message,
        restore_problem="CheckpointFellBack",
        restore_message=restore_message,
    )
    text = Outcome("Sealed", message, asdict(report)).to_json(limit_bytes=ATTEMPT_MESSAGE_LIMIT_BYTES)
    assert len(text.encode()) <= ATTEMPT_MESSAGE_LIMIT_BYTES
    outcome = parsed_outcome(text)
    assert outcome is not None
    said = parsed_report(outcome.details)
    assert message.startswith(outcome.message)
    assert message.startswith(said.message)
    assert restore_message.startswith(said.restore_message)
    assert replace(said, message=message, restore_message=restore_message) == report


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
