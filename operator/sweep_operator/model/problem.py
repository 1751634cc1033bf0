"""Something that keeps a sweep from working as it should."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_WORDS = 400


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something a person should know: a CamelCase reason and a sentence."""

    reason: str
    message: str


def clipped(words: str, *, to: int = _LONGEST_WORDS) -> str:
    """Return the words of somebody else in one line and cut to so many characters: what comes after them counts too."""
    line = " ".join(words.split()).rstrip(".;")
    return line if len(line) <= to else line[: to - 4].rstrip() + " ..."
