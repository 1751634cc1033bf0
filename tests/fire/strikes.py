"""What goes wrong between operator and API server, each at a place that is counted: so that it can be brought about
again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

from fire.calls import Call
from fire.kube import Json, Kube
from fire.past import Past
from fire.proxy import Answer, Meddling

READ_SECONDS = 0.05
"""For so long an operator goes on after it was answered, until it is killed: what it writes then does not arrive."""
GAP_SECONDS = 0.7
"""From an event that did not arrive to the end of its watch."""
SECOND_SECONDS = 5.0
"""From the first of two events that did not arrive to the end of its watch, where the second never happens."""
SLOW_SECONDS = 1.5
HANGS_SECONDS = 6.0


class Strike(Meddling):
    """Meddles once; `struck` tells whether its place has come."""

    def __init__(self) -> None:
        self.struck = False


class Watching(Strike):
    """Does nothing, and counts what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.calls: Counter[Call] = Counter()
        self.events: Counter[str] = Counter()

    async def before(self, call: Call) -> Answer | None:
        self.calls[call] += 1
        self.writes += call.writes
        return None

    def event(self, call: Call, event: Json) -> bool:
        self.events[call.resource] += 1
        return True


class Kill(Strike):
    """Kills the operator at its write number `at`, counted from 1, and starts it anew.

    Parameters
    ----------
    how:
        `unsent`: the write does not arrive; `unread`: it does, and its answer does not; `read`: the operator has its
        answer, and what it writes next does not arrive.
    again:
        Kills the operator, and starts it again.
    """

    def __init__(self, at: int, how: str, *, again: Callable[[], None]) -> None:
        super().__init__()
        self._at = at
        self._how = how
        self._again = again
        self._count = 0
        self._frozen = False
        self._target: Call | None = None

    async def before(self, call: Call) -> Answer | None:
        if not call.writes:
            return None
        if self._frozen:
            # Of one that is about to die, or that has just died: it was never sent.
            return Answer()
        self._count += 1
        if self._count == self._at:
            self._target = call
            if self._how == "unsent":
                await self._strike()
                return Answer()
        return None

    async def after(self, call: Call) -> bool:
        if call is self._target and self._how == "unread":
            await self._strike()
            return False
        return True

    async def answered(self, call: Call) -> None:
        if call is self._target and self._how == "read":
            self._frozen = True
            await asyncio.sleep(READ_SECONDS)
            await self._strike()

    async def _strike(self) -> None:
        self._frozen = True
        await asyncio.to_thread(self._again)
        self._frozen = False
        self.struck = True


class LostAnswer(Strike):
    """Carries out write number `at`, and the answer does not arrive."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self._count = 0
        self._target: Call | None = None

    async def before(self, call: Call) -> Answer | None:
        self._count += call.writes
        if call.writes and self._count == self._at:
            self._target = call
        return None

    async def after(self, call: Call) -> bool:
        if call is not self._target:
            return True
        self.struck = True
        return False


class Refusal(Strike):
    """Answers otherwise than with success, `count` times in a row from request number `at` of that verb and resource.

    Parameters
    ----------
    how:
        `429` (with Retry-After), `500`, `503`, or `504`; `slow`: it is carried out late; `hangs`: nothing comes, and
        in the end the connection breaks off.
    """

    def __init__(self, call: str, at: int, how: str, *, count: int) -> None:
        super().__init__()
        self._call = call
        self._places = range(at, at + count)
        self._how = how
        self._number = 0

    async def before(self, call: Call) -> Answer | None:
        if str(call) != self._call:
            return None
        self._number += 1
        if self._number not in self._places:
            return None
        self.struck = True
        if self._how == "slow":
            await asyncio.sleep(SLOW_SECONDS)
            return None
        if self._how == "hangs":
            await asyncio.sleep(HANGS_SECONDS)
            return Answer()
        return Answer(status=int(self._how), retry_after=1 if self._how == "429" else 0)


class Dropped(Strike):
    """Lets events of a collection's watches not arrive: those that are named, and then all of a gap, or none.

    The watch ends a moment later, with the word that its version is too old. The second of two may wait for the first
    to be seen: then it ends without the second.

    Parameters
    ----------
    places:
        Numbers of events, counted from 1.
    gap:
        Whether all that follow the first of them are missed too, until that end.
    """

    def __init__(self, resource: str, places: Collection[int], *, gap: bool) -> None:
        super().__init__()
        self._resource = resource
        self._left = set(places)
        self._gap = gap
        self._in_gap = False
        self._count = 0
        self._missed = asyncio.Event()
        self._missed_all = asyncio.Event()

    def event(self, call: Call, event: Json) -> bool:
        if call.resource != self._resource:
            return True
        self._count += 1
        if self._in_gap:
            return False
        if self._count not in self._left:
            return True
        self._left.discard(self._count)
        self._in_gap = self._gap
        self._missed.set()
        if self._gap or not self._left:
            self._missed_all.set()
        return False

    async def expires(self, call: Call) -> None:
        if call.resource != self._resource:
            await asyncio.Event().wait()
        await self._missed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(SECOND_SECONDS):
                await self._missed_all.wait()
        self.struck = True
        await asyncio.sleep(GAP_SECONDS)
        self._missed.clear()
        self._in_gap = False


class Travel(Kill):
    """Kills the operator, and shows its successor how things were before: of these collections, some events back.

    Parameters
    ----------
    back:
        From how many events there were so far to how many of them are taken back.
    """

    def __init__(
        self,
        at: int,
        *,
        again: Callable[[], None],
        namespace: str,
        resources: Collection[str],
        back: Callable[[int], int],
    ) -> None:
        super().__init__(at, "unread", again=again)
        self._namespace = namespace
        self._resources = resources
        self._back = back
        self._pasts: dict[str, Past] = {}
        self._recording: list[asyncio.Task[None]] = []

    async def open(self, kube: Kube) -> None:
        of_all = {
            "pods": Past(
                kube,
                f"/api/v1/namespaces/{self._namespace}/pods",
                selector="resumable.dev/sweep",
                belongs=lambda found: True,
            ),
            "nodes": Past(
                kube,
                "/api/v1/nodes",
                belongs=lambda found: bool(found["metadata"]["name"].startswith(f"{self._namespace}-")),
            ),
            "sweeps": Past(
                kube,
                f"/apis/resumable.dev/v1alpha1/namespaces/{self._namespace}/resumablesweeps",
                belongs=lambda found: True,
            ),
        }
        self._pasts = {resource: of_all[resource] for resource in self._resources}
        self._recording = [asyncio.create_task(past.record()) for past in self._pasts.values()]

    def past(self, call: Call) -> Past | None:
        return self._pasts.get(call.resource)

    async def _strike(self) -> None:
        for past in self._pasts.values():
            past.go_back(self._back(past.length))
        await super()._strike()
