"""A cloud's announcement, and what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from resumable_sweep.contract.report import NoticeKind


@dataclass(frozen=True)
class Announcement:
    """What the cloud says will happen to the machine; `deadline` in Unix seconds, None where it does not say when."""

    kind: NoticeKind
    deadline: float | None = None


class Reader(Protocol):
    """Reads one cloud's metadata server."""

    @property
    def cloud(self) -> str:
        """The cloud's name, for people."""
        ...

    @property
    def pause_s(self) -> float:
        """How long to wait between two readings."""
        ...

    def read(self) -> Announcement | None:
        """Return what is announced now, None where nothing is; it may wait for a change, for half a minute at most.

        Raises
        ------
        NoReply
            Where it is not known now. What was announced before stands.
        NoNotices
        """
        ...
