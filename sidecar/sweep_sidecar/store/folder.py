"""What every store in a bucket has: a folder whose path stands before each key, and a deadline."""

from __future__ import annotations

import time


class BucketFolder:
    """The folder of a bucket below which a store's objects lie; `deadline_s` is for calls that give none."""

    def __init__(self, *, folder: str, deadline_s: float) -> None:
        self._folder = folder.strip("/")
        self._deadline_s = deadline_s

    def _ends(self, deadline_s: float | None) -> float:
        """Return when a call that begins now has to end, on the monotonic clock."""
        return time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)

    def _name(self, key: str) -> str:
        """Return the object's name in the bucket."""
        return f"{self._folder}/{key}" if self._folder else key

    def _key(self, name: str) -> str:
        """Return the key of the object of that name in the bucket."""
        return name[len(self._folder) + 1 :] if self._folder else name
