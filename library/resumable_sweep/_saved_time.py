"""How long the items took that need not be run again."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TAIL_BYTES = 512
_TIMES = re.compile(rb'"started":(null|[-+.0-9e]+),"ended":([-+.0-9e]+)[,}]')


def seconds_saved(lines: Iterable[bytes]) -> float:
    """Return the sum of the seconds between `started` and `ended` of results, given by their lines in the log.

    Only the end of a line is looked at, where the times stand; what has none there (from another package, say) counts
    as nothing.
    """
    total = 0.0
    for line in lines:
        found = _TIMES.findall(line, max(0, len(line) - _TAIL_BYTES))
        # A result may look like times, too: those of the entry come after it.
        if found and found[-1][0] != b"null":
            started, ended = found[-1]
            total += max(0.0, float(ended) - float(started))
    return total
