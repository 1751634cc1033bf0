"""The kinds of faults between client and store, and their schedules."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import partial

from crash.schedules import Kind, Schedule
from faults.proxy import Fate, Request, Strike
from faults.servers import WORDINGS, Wording

ALONE = "alone"
ZOMBIES = "zombies"
_REQUESTS = {"gcs": range(28), "s3": range(0, 28, 4)}
"""From which request of a life on it is struck; a standard life makes about as many."""
_MATCHING = {"gcs": range(14), "s3": range(0, 14, 4)}
"""The same, counted among those that the fault can strike: writes, or downloads."""
SLOW_S = 5.0 / 25
"""Five seconds, as much shorter as the deadlines are that they meet."""
LONGEST_WINDOW = 12
"""An outage strikes so many requests in a row: with the pauses that the clients make between their tries, 30 s and
more. Windows are counted in requests, so that a schedule strikes the same ones each time."""


def store_strikes(name: str, wording: Wording, at: int, rng: random.Random) -> list[Strike]:
    """Return what strikes a life."""
    window = rng.randint(1, LONGEST_WINDOW)
    if name == "mixed":
        others = rng.choices(sorted(STRIKES.keys() - {"mixed", "garbled", "silent"}), k=3)
        return [
            strike
            for number, kind in enumerate(others)
            for strike in store_strikes(kind, wording, (at + 5 * number) % 17, rng)
        ]
    if name in ("overload", "gone", "expired"):
        answer = {"overload": rng.choice(wording.overloaded), "gone": wording.gone, "expired": wording.expired}[name]
        return [Strike(fate=Fate.REFUSED, at=at, count=window, status=answer.status, content=answer.content)]
    if name == "reset":
        up = Strike(fate=Fate.RESET, at=at, count=rng.randint(1, 3), meets=_writes)
        return [up, Strike(fate=Fate.CUT, at=at, count=rng.randint(1, 3), meets=_reads)]
    if name == "lost":
        return [Strike(fate=Fate.LOST, at=at, count=rng.choice([1, 1, 2, LONGEST_WINDOW]), meets=_writes)]
    if name == "late":
        return [Strike(fate=Fate.LATE, at=at, count=rng.choice([1, 2, LONGEST_WINDOW]), meets=_writes)]
    if name in ("truncated", "flipped", "garbled"):
        fate = Fate.TRUNCATED if name == "truncated" else Fate.FLIPPED
        count = rng.randint(2, 4) if name == "garbled" else 1
        return [Strike(fate=fate, at=at, count=count, meets=_downloads, seed=rng.getrandbits(40))]
    if name == "slow":
        return [Strike(fate=Fate.SLOW, at=at, count=window, pause_s=SLOW_S)]
    if name == "silent":
        return [Strike(fate=Fate.SILENT, at=at)]
    assert name == "killed"
    return [Strike(fate=rng.choice([Fate.KILLED, Fate.KILLED_IN_BODY, Fate.KILLED_AFTER]), at=at)]


def _writes(request: Request) -> bool:
    return request.writes


def _reads(request: Request) -> bool:
    return not request.writes


def _downloads(request: Request) -> bool:
    return request.downloads


STRIKES = {
    "overload": _REQUESTS,
    "gone": _REQUESTS,
    "expired": _REQUESTS,
    "slow": _REQUESTS,
    "silent": _REQUESTS,
    "killed": _REQUESTS,
    "mixed": _REQUESTS,
    "reset": _MATCHING,
    "lost": _MATCHING,
    "late": _MATCHING,
    "truncated": _MATCHING,
    "flipped": _MATCHING,
    "garbled": _MATCHING,
}
"""Each kind with the requests from which on it strikes, by server. `garbled` downloads are wrong several times in a
row, which proves damage to whoever reads twice; all other faults pass, and prove nothing."""
PROVE_DAMAGE = ("garbled", "mixed")


def _schedules(name: str) -> Iterator[Schedule]:
    for server in WORDINGS:
        for how in (ALONE, ZOMBIES):
            for at in STRIKES[name][server]:
                yield Schedule(f"store-{name}", server, at, how, 0)


def _tried(schedule: Schedule) -> list[str]:
    from faults.run import wrong_in_run

    return wrong_in_run(schedule)


def _kind(name: str) -> Kind:
    schedules: partial[Iterable[Schedule]] = partial(_schedules, name)
    return Kind(f"store-{name}", schedules, _tried)


KINDS: tuple[Kind, ...] = tuple(map(_kind, STRIKES))
