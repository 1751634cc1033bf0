"""Something that keeps a sweep from working as it should."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something a person should know: a CamelCase reason and a sentence."""

    reason: str
    message: str
