from __future__ import annotations

from resumable_sweep._saved_time import seconds_saved

LINES = [
    b'{"kind":"done","key":1,"result":{"started":5,"ended":9},"started":10.5,"ended":12.0,"crc32":"00000000"}',
    b'{"kind":"done","key":2,"result":1,"started":null,"ended":12.0,"crc32":"00000000"}',
    b'{"kind":"done","key":3,"result":"' + b"x" * 2000 + b'","started":1.7e9,"ended":1700000000.25,"crc32":"00000000"}',
    b'{"kind":"done","key":4,"result":1}',
]


def test_the_times_of_items_add_up_and_those_of_results_do_not_count() -> None:
    assert seconds_saved(LINES) == 1.5 + 0.25
