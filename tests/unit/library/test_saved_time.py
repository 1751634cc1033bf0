from __future__ import annotations

import json

import pytest

from resumable_sweep._entries import Entries
from resumable_sweep._saved_time import seconds_saved

ENTRIES = Entries(attempt=3, host="node-1", clock=lambda: 107.5)


@pytest.mark.parametrize(
    ("result", "started", "seconds"),
    [
        (1, 100.0, 7.5),
        (1, None, 0.0),
        ("x" * 5000, 100.0, 7.5),
        ({"started": 1.0, "ended": 2.0}, 100.0, 7.5),
        ({"started": 1.0, "ended": 2.0}, None, 0.0),
        ('"started":1.0,"ended":2.0,', None, 0.0),
        (1, 109.0, 0.0),  # the clock was set back meanwhile
        (1, 1e-7, 107.4999999),
    ],
)
def test_the_time_of_an_item_is_that_of_its_entry(result: object, started: float | None, seconds: float) -> None:
    for more in (None, {"$sweep.file": {"path": "results.jsonl.files/" + "0" * 64 + ".json"}}):
        line = ENTRIES.done('"a"', json.dumps(result, separators=(",", ":")), started=started, random_state=more)
        assert seconds_saved([line[:-1]]) == pytest.approx(seconds)


def test_times_add_up_and_what_has_none_counts_as_nothing() -> None:
    lines = [ENTRIES.done('"a"', "1", started=started)[:-1] for started in (100.0, 107.0)]
    assert seconds_saved([*lines, b'{"kind":"done","key":1,"result":2}', b""]) == pytest.approx(8.0)
    assert seconds_saved([]) == 0.0
