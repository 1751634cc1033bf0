"""How items ended, as a program is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ResultInvalid(ValueError):
    """A result cannot be kept: there is no form for what it holds; the message says where and what to do."""


class ItemsFailed(RuntimeError):
    """A sweep has come to its end with items that failed; `items` tells of each."""

    def __init__(self, message: str, items: list[FailedItem]) -> None:
        super().__init__(message)
        self.items = items


@dataclass(frozen=True)
class FailedItem:
    """An item whose last try went wrong: `error` is class and message, `attempts` counts the tries that failed."""

    item: Any
    key: Any
    error: str
    traceback: str
    attempts: int


@dataclass(frozen=True)
class SkippedItem:
    """An item that the program will not do."""

    item: Any
    key: Any
    why: str
