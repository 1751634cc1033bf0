"""How long the items took that need not be run again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_TAIL_BYTES = 512
_TIMES = re.compile(rb'"started":([0-9.e+]+),"ended":([0-9.e+]+)[,}]')


def seconds_saved(read: Callable[[int, int], bytes], lines: Iterable[tuple[int, int]]) -> float:
    """Return the sum of the seconds between `started` and `ended` of results in the log.

    `lines` are their offsets and sizes (bytes), `read` returns bytes of the log by these. Only the end of a line is
    read, where the times stand; what has none there (from another package, say) counts as nothing.
    """
    ends = ((offset + size, min(size, _TAIL_BYTES)) for offset, size in lines)
    return seconds_between(read(end - tail, tail) for end, tail in ends)


def seconds_between(lines: Iterable[bytes]) -> float:
    """Return the same of lines that are read already."""
    total = 0.0
    for line in lines:
        found = _TIMES.findall(line, max(0, len(line) - _TAIL_BYTES))
        if found:
            started, ended = found[-1]
            total += max(0.0, float(ended) - float(started))
    return total
