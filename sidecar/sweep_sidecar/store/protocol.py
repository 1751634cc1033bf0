"""What a store can do, and how it fails: five calls, the same on every backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class StoreError(Exception):
    """A call to the store failed; the message names the object."""


class Unreachable(StoreError):
    """Could not read or write: no network, no permission, no bucket, or the deadline passed.

    It says nothing about what is there, so nobody may take it for "not there".
    """


class NotFound(StoreError):
    """The store answered that no object has this key."""


class StoreNotCreateOnly(StoreError):
    """A second create of the same key went through: the store cannot keep two writers apart."""


class UrlUnsupported(ValueError):
    """No backend for this URL; the message names the ones there are."""


class Creation(StrEnum):
    """What became of a create."""

    CREATED = "created"
    """The object is there and holds these bytes, written by this call, or before it by one whose reply was lost."""
    EXISTS = "exists"
    """The object is there and holds other bytes."""


@dataclass(frozen=True, order=True)
class Listed:
    """One object of a listing: key, size in bytes, and when the store took it (Unix seconds on the store's clock).

    Two times are only ever compared with each other: nobody's own clock says how old an object is.
    """

    key: str
    size: int
    modified: float = field(compare=False)


class Store(Protocol):
    """A folder of immutable objects.

    Keys are relative to the folder's URL, with `/` between their parts. Every call ends within its deadline (seconds;
    None = the store's own), retries included, and may be made from any thread. A create that ended at its deadline may
    still take effect on the server later: whoever must know asks again with the same bytes.
    """

    @property
    def url(self) -> str:
        """Address of the folder, without a slash at its end."""
        ...

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        """Create an object, at most once and never in part.

        Raises
        ------
        Unreachable
            Where it is not known whether the object was created.
        StoreNotCreateOnly
            Where the store answers that it knows no conditional writes.
        """
        ...

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        """Return an object's bytes, or those from `start` up to and without `end`: as many as there are.

        Raises
        ------
        NotFound, Unreachable
        """
        ...

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        """Return the objects whose keys start with `prefix`, sorted by key, the first `limit` of them at most.

        What was created before the call is in it: nothing is cached. All pages are read, or the call fails. Which ones
        are the first is certain among the objects of one folder; an account with a hierarchical namespace (Azure)
        sorts folders before what lies in them, whatever characters follow.

        Raises
        ------
        Unreachable
        """
        ...

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        """Delete an object, or see that it is not there.

        For retention alone: whoever deletes an object of a log makes its key free for another create. An identity
        that may not delete is enough for all other calls.

        Raises
        ------
        Unreachable
        """
        ...


def url_of(store: Store, key: str) -> str:
    """Return the address of one object, for messages."""
    return f"{store.url}/{key}"
