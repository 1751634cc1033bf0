"""What this process knows of attempts' pods beyond caches and status: what it has asked for, and where it saw them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sweep_operator.model.observed import Creation, NodeView, PodView, Role


class Attempts:
    """Creations by sweep UID and attempt number, and those of housekeeping pods by role.

    An attempt that is not in here was allocated by another process: whether its pod exists is for the API server to
    say, and where it does not, the attempt is burnt. So no attempt ever has two pods.
    """

    def __init__(self) -> None:
        self._attempts: dict[str, dict[int, Creation]] = defaultdict(dict)
        self._housekeeping: dict[str, dict[str, Creation]] = defaultdict(dict)
        self._placements: dict[str, dict[int, str]] = defaultdict(dict)

    def of(self, sweep_uid: str) -> dict[int, Creation]:
        """Return the creations of a sweep's attempts."""
        return dict(self._attempts.get(sweep_uid, {}))

    def get(self, sweep_uid: str, attempt: int) -> Creation | None:
        """Return the creation of one attempt, None where it is not known."""
        return self._attempts.get(sweep_uid, {}).get(attempt)

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
            if not known[attempt].seen:
                known[attempt] = replace(known[attempt], seen=True)

    def saw_on(self, sweep_uid: str, pods: Iterable[PodView], nodes: Mapping[str, NodeView]) -> None:
        """Keep in mind which incarnation of its node each attempt's pod was first seen on.

        The status tells that too, but only once it is written, and the machine may be another one by then.
        """
        known = self._placements[sweep_uid]
        for pod in pods:
            if pod.role is Role.ATTEMPT and pod.node in nodes:
                known.setdefault(pod.attempt, nodes[pod.node].incarnation)

    def placements(self, sweep_uid: str) -> dict[int, str]:
        """Return the incarnations of nodes that a sweep's attempts were first seen on."""
        return dict(self._placements.get(sweep_uid, {}))

    def note_housekeeping(self, sweep_uid: str, role: str, creation: Creation) -> None:
        """Keep what is known of a housekeeping pod."""
        self._housekeeping[sweep_uid][role] = creation

    def forget_housekeeping(self, sweep_uid: str, role: str) -> None:
        """Let a housekeeping pod be made again."""
        self._housekeeping[sweep_uid].pop(role, None)

    def keep_only(self, sweep_uid: str, attempts: set[int]) -> None:
        """Drop what is known of attempts that are not current any more."""
        _keep_only(self._attempts.get(sweep_uid, {}), attempts)
        _keep_only(self._placements.get(sweep_uid, {}), attempts)

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        self._attempts.pop(sweep_uid, None)
        self._housekeeping.pop(sweep_uid, None)
        self._placements.pop(sweep_uid, None)


def _keep_only(known: dict[int, Any], attempts: set[int]) -> None:
    for attempt in [attempt for attempt in known if attempt not in attempts]:
        del known[attempt]
