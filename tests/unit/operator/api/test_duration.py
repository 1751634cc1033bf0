from __future__ import annotations

import re

import pytest

from sweep_operator.api.duration import PATTERN, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1.5m", 90.0),
        ("0.1s0.1s0.1s", 0.3),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_a_duration_has_seconds(text: str, seconds: float) -> None:
    assert re.search(PATTERN, text)
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1d", "1s ", "1 s", "1s\n", ".5s", "5.s", "1us"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r} is not a duration: write it like 10s")):
        seconds_of(text)
