"""What this process knows of the pods that it has asked for itself, before the caches show them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from sweep_operator.model.observed import Creation


class Attempts:
    """Creations by sweep UID and attempt number, and those of housekeeping pods by role.

    An attempt that is not in here was allocated by another process: whether its pod exists is for the API server to
    say, and where it does not, the attempt is burnt. So no attempt ever has two pods.
    """

    def __init__(self) -> None:
        self._attempts: dict[str, dict[int, Creation]] = defaultdict(dict)
        self._housekeeping: dict[str, dict[str, Creation]] = defaultdict(dict)

    def of(self, sweep_uid: str) -> dict[int, Creation]:
        """Return the creations of a sweep's attempts."""
        return dict(self._attempts.get(sweep_uid, {}))

    def housekeeping_of(self, sweep_uid: str) -> dict[str, Creation]:
        """Return the creations of a sweep's housekeeping pods."""
        return dict(self._housekeeping.get(sweep_uid, {}))

    def note(self, sweep_uid: str, attempt: int, creation: Creation) -> None:
        """Keep what is known of an attempt's pod."""
        self._attempts[sweep_uid][attempt] = creation

    def saw(self, sweep_uid: str, attempts: set[int]) -> None:
        """Keep in mind that the cache has shown the pods of these attempts."""
        known = self._attempts.get(sweep_uid, {})
        for attempt in attempts & known.keys():
            known[attempt] = replace(known[attempt], seen=True)

    def note_housekeeping(self, sweep_uid: str, role: str, creation: Creation) -> None:
        """Keep what is known of a housekeeping pod."""
        self._housekeeping[sweep_uid][role] = creation

    def forget_housekeeping(self, sweep_uid: str, role: str) -> None:
        """Let a housekeeping pod be made again."""
        self._housekeeping[sweep_uid].pop(role, None)

    def keep_only(self, sweep_uid: str, attempts: set[int]) -> None:
        """Drop what is known of attempts that are not current any more."""
        known = self._attempts.get(sweep_uid, {})
        for attempt in [attempt for attempt in known if attempt not in attempts]:
            del known[attempt]

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        self._attempts.pop(sweep_uid, None)
        self._housekeeping.pop(sweep_uid, None)
