from __future__ import annotations

import pytest

from sweep_sidecar.progress import Counted, counted_lines

HEADER = b'{"kind":"header","schema_version":1,"run_id":null,"shard":0,"shards":1,"created":1.0}\n'
DONE = b'{"kind":"done","key":"a","result":1}\n'
COMPLETE = b'{"kind":"complete","total":1,"keys_sha256":"ab"}\n'


@pytest.mark.parametrize(
    ("lines", "total"),
    [
        ([HEADER, DONE], None),
        ([HEADER, DONE, COMPLETE], 1),
        ([HEADER, DONE, COMPLETE, b'{"kind":"reopened"}\n'], None),
        ([HEADER, DONE, COMPLETE, DONE], None),
        ([HEADER, DONE, COMPLETE, DONE, COMPLETE], 1),
    ],
)
def test_complete_counts_only_as_the_last_entry(lines: list[bytes], total: int | None) -> None:
    at_once = counted_lines(b"".join(lines), Counted())
    bit_by_bit = Counted()
    for line in lines:
        bit_by_bit = counted_lines(line, bit_by_bit)
    assert at_once == bit_by_bit == Counted(frozenset({'"a"'}), total, "ab" if total else "")
