"""The two kinds of line that nearly all of a log consists of, taken in by the thousand: with few steps for each.

Lines are without their newline, bodies are what their checksum is over. What does not stand as this library writes it
is left to whoever takes the lines one by one.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from itertools import compress, repeat
from operator import itemgetter
from zlib import crc32

from resumable_sweep.contract.log_format import CRC_BYTES, CRC_START

DONE_START = b'{"kind":"done","key":'
STARTED_START = b'{"kind":"started","at":'
RESULT = b',"result":'

_body = itemgetter(slice(None, -CRC_BYTES))
_check = itemgetter(slice(-CRC_BYTES, None))
_BETWEEN_CHECKS = '"}' + CRC_START.decode()
_STARTED_HEAD = re.compile(rb"\n" + re.escape(STARTED_START) + rb'[-+.0-9e]++,"key":')

_OF_ONE_FORM = frozenset((b"null", b"true", b"false"))
_KEY = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt])*+"|0(?![.0-9eE])|-?[1-9][0-9]{0,17}+(?![.0-9eE])')
"""Keys that are their own identity as they stand."""
_HEAD = re.compile(re.escape(STARTED_START) + rb'[-+.0-9e]++,"key":')

_KIND_AT = len(b'{"kind":"done')
"""Where the kinds differ, the two from all others: the quotation mark after `done`, the second t of `started`."""
_kind = itemgetter(_KIND_AT)
_IS_DONE = bytes(code == DONE_START[_KIND_AT] for code in range(256))
_IS_STARTED = bytes(code == STARTED_START[_KIND_AT] for code in range(256))
_OTHERS = re.compile(rb"[^%c%c]" % (DONE_START[_KIND_AT], STARTED_START[_KIND_AT]))


def bodies_of(lines: list[bytes]) -> list[bytes] | None:
    """Return the bodies of `lines`, None where one of them has no checksum that fits."""
    bodies = list(map(_body, lines))
    sums = array("I", map(crc32, bodies))
    if sys.byteorder == "little":
        sums.byteswap()
    expected = sums.tobytes().hex("|", 4).replace("|", _BETWEEN_CHECKS)
    is_all_well = b"".join(map(_check, lines)) == CRC_START + expected.encode() + b'"}'
    return bodies if is_all_well else None


def kinds_of(lines: list[bytes]) -> bytes:
    """Return a byte for each line, of those that have a checksum: what kind it seems to be."""
    return bytes(map(_kind, lines))


def runs_of(kinds: bytes) -> Iterator[tuple[int, int]]:
    """Yield the stretches [start, end) that seem to be of the two kinds; between them is one other line each."""
    start = 0
    for other in _OTHERS.finditer(kinds):
        yield start, other.start()
        start = other.end()
    yield start, len(kinds)


def done_among(kinds: bytes) -> bytes:
    """Return for each line whether it seems to be a result: 1 or 0."""
    return kinds.translate(_IS_DONE)


def keys_of_done(bodies: list[bytes]) -> list[bytes] | None:
    """Return the identities (UTF-8) of the keys of results, None where one of them has to be looked at closer."""
    ends = list(map(bytes.find, bodies, repeat(RESULT)))
    if not bodies or min(ends) < 0:
        return None if bodies else []
    heads = b"\n".join([body[:end] for body, end in zip(bodies, ends, strict=True)])
    text = (b"\n" + heads).replace(b"\n" + DONE_START, b"\n")
    is_all_done = len(text) == 1 + len(heads) - len(bodies) * len(DONE_START)
    return text[1:].split(b"\n") if is_all_done and _are_identities(text, len(bodies)) else None


def keys_of_started(bodies: list[bytes], kinds: bytes) -> list[bytes] | None:
    """Return the identities (UTF-8) of the keys of what was handed out among `bodies`, None as above."""
    started = list(compress(bodies, kinds.translate(_IS_STARTED)))
    keys = _STARTED_HEAD.split(b"\n" + b"\n".join(started))
    if not started:
        return []
    if len(keys) != len(started) + 1 or keys[0]:
        return None
    keys[0] = b""
    return keys[1:] if _are_identities(b"\n".join(keys), len(started)) else None


def key_of_done(body: bytes) -> tuple[bytes, int]:
    """Return the key of a result as it stands, and where it ends; an empty one where that takes a closer look."""
    found = _KEY.match(body, len(DONE_START))
    return (found[0], found.end()) if found is not None and _is_identity(found[0]) else (b"", 0)


def key_of_started(body: bytes) -> bytes:
    """Return the key of what was handed out as it stands; an empty one where that takes a closer look."""
    head = _HEAD.match(body)
    found = None if head is None else _KEY.fullmatch(body, head.end())
    return found[0] if found is not None and _is_identity(found[0]) else b""


def _are_identities(text: bytes, count: int) -> bool:
    """Return whether `text`, `count` keys with a newline before each, has their identities as they stand."""
    # In a list or mapping what looks like the key's end need not be it. In a text no quotation mark is without its
    # backslash, so that a comma and one are something else's start. Other writers may escape what need not be.
    if b',"' in text or b', "' in text or b"\\/" in text or b"\\u" in text:
        return False
    if text.count(b'\n"') == count == text.count(b'"\n') + text.endswith(b'"'):
        return True
    return all(map(_is_identity, text[1:].split(b"\n")))


def _is_identity(key: bytes) -> bool:
    """Return whether a key that is neither list nor mapping is its own identity as it stands."""
    if key.startswith(b'"'):
        return key.endswith(b'"')
    if key in _OF_ONE_FORM:
        return True
    try:
        return key == (repr(float(key)) if b"." in key or b"e" in key else str(int(key))).encode()
    except ValueError:
        return False
