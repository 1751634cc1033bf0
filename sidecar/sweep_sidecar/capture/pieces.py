"""The pieces of an append-only file, merged in tiers so that they stay few however often it has grown."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import BinaryIO

from sweep_sidecar.content import BLOB_BYTES
from sweep_sidecar.log.generation import Segment

FAN = 16
"""So many pieces of one tier become one of the tier above."""


class PieceChanged(Exception):
    """The file does not hold any more, at its place, what a piece of it was captured from."""


def merged_from(segments: Sequence[Segment], size: int) -> tuple[int, int]:
    """Return from which of `segments` on a new last piece of `size` bytes is one with them, and its tier.

    The first is the number of the segments where nothing is merged.
    """
    first, tier = len(segments), 0
    while first >= FAN - 1:
        row = segments[first - (FAN - 1) : first]
        size += sum(segment.size for segment in row)
        if size > BLOB_BYTES or any(segment.tier != tier for segment in row):
            break
        first -= FAN - 1
        tier += 1
    return first, tier


def with_piece(
    segments: Sequence[Segment], chunk: bytes, *, file: BinaryIO, store_piece: Callable[[bytes], Segment]
) -> tuple[Segment, ...]:
    """Return the segments with `chunk`, which follows them in `file`, as a piece of its own or merged into the last.

    Raises
    ------
    PieceChanged
    OSError, Unreachable
    """
    first, tier = merged_from(segments, len(chunk))
    file.seek(sum(segment.size for segment in segments[:first]))
    pieces = [_read_again(file, segment) for segment in segments[first:]]
    return (*segments[:first], replace(store_piece(b"".join([*pieces, chunk])), tier=tier))


def _read_again(file: BinaryIO, segment: Segment) -> bytes:
    data = file.read(segment.size)
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        raise PieceChanged
    return data
