"""SIGKILL of restore, of mirror and of whole pods at every operation, and pods that stand still and come back.

The experiment writes all the while. Where a process dies between two operations nobody can tell what it read last: so
struck is each operation that changes a file, of the store or of the pod, and each question to the store.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crash import schedules
from crash.life import Life
from crash.pod import Made, Pod, Shard, Stalled, Strike
from crash.schedules import Schedule
from crash.shard_verdict import (
    come_to,
    has_ended,
    outcome_of,
    shut_out,
    wrong_after_restore,
    wrong_in_the_store,
    wrong_with,
)
from crash.styles import STYLES
from crash.verdict import fresh_folder
from resumable_sweep.contract.outcome import Exit
from sweep_sidecar.log.entry import Kind

_MOST_LIVES = 12
_MORE_STRIKES = (0, 0, 1, 2)
"""How often, by chance, the lives after the first one are struck as well."""
_ENDS = ("Complete", "Sealed")


class _Wrong(Exception):
    """Something that must not happen; the message says what."""


@dataclass(frozen=True)
class _Calm:
    """What a shard comes to that nothing happens to, and the calls that are made on the way.

    `restored` are those of the restore that follows the first pod's death; `wrong` is what should not be even so.
    """

    ends_in: str
    came_to: dict[str, bytes]
    wrong: tuple[str, ...]
    mirrored: tuple[Made, ...]
    restored: tuple[Made, ...]


@functools.cache
def calm(style: str) -> _Calm:
    """Return what an experiment of this style comes to."""
    with _shard(style) as shard:
        pod = shard.pod(1)
        _restored(pod)
        pod.begin()
        life = _lived(pod.mirror())
        pod.end()
        _check(wrong_with(life, "mirror"))
        wrong = tuple(wrong_in_the_store(shard))
        ended = outcome_of(life)
        assert ended is not None
        came_to, mirrored = come_to(shard), tuple(life.values("made")[0])
    with _shard(style) as shard:
        second = _after_a_death(shard, len(mirrored))
        restored = _lived(second.restore())
        return _Calm(ended[1], came_to, wrong, mirrored, tuple(restored.values("made")[0]))


def _after_a_death(shard: Shard, calls: int) -> Pod:
    """Let the first pod die late, and return the second, in which nothing has happened yet."""
    pod = shard.pod(1)
    _restored(pod)
    pod.begin()
    _lived(pod.mirror(Strike(calls * 3 // 4, "before")))
    pod.end()
    return shard.pod(2)


def _at_each(calls: tuple[Made, ...], style: str, kind: str, ways: tuple[str, ...]) -> Iterator[Schedule]:
    for number, call in enumerate(calls):
        for way in ways:
            yield Schedule(kind, style, number, f"before-{way}")
            if call.size > 1:
                yield Schedule(kind, style, number, f"half-{way}")


def _restore_kills() -> Iterator[Schedule]:
    for style in STYLES:
        yield from _at_each(calm(style).restored, style, "restore-kill", ("kept", "other"))


def _mirror_kills() -> Iterator[Schedule]:
    for style in STYLES:
        yield from _at_each(calm(style).mirrored, style, "mirror-kill", ("kept",))


def _pod_kills() -> Iterator[Schedule]:
    for style in STYLES:
        yield from _at_each(calm(style).mirrored, style, "pod-kill", ("kept", "other"))


def _zombies() -> Iterator[Schedule]:
    for style in STYLES:
        for number in range(len(calm(style).restored)):
            yield Schedule("pod-zombie", style, number, "restore")
        for number in range(len(calm(style).mirrored)):
            yield Schedule("pod-zombie", style, number, "mirror")


def _tried(schedule: Schedule) -> list[str]:
    if undisturbed := calm(schedule.program).wrong:
        return [f"even where nothing happens: {wrong}" for wrong in undisturbed]
    with _shard(schedule.program) as shard:
        try:
            _KINDS[schedule.kind](schedule, shard)
            _check([*wrong_in_the_store(shard)])
            if come_to(shard) != calm(schedule.program).came_to:
                return ["it comes to something else than a shard that nothing happens to"]
        except _Wrong as error:
            return [str(error)]
    return []


def _kill_restore(schedule: Schedule, shard: Shard) -> None:
    pod = _after_a_death(shard, len(calm(shard.style.name).mirrored))
    how, node = schedule.how.split("-")
    _check(wrong_with(_lived(pod.restore(Strike(schedule.at, how))), "restore"))
    _finished(pod if node == "kept" else shard.pod(3), schedule.rng)


def _kill_mirror(schedule: Schedule, shard: Shard) -> None:
    pod = shard.pod(1)
    _restored(pod)
    _finished(pod, schedule.rng, first=Strike(schedule.at, schedule.how.removesuffix("-kept")), with_pod=False)


def _kill_pod(schedule: Schedule, shard: Shard) -> None:
    pod = shard.pod(1)
    _restored(pod)
    pod.begin()
    how, node = schedule.how.split("-")
    _check(wrong_with(_lived(pod.mirror(Strike(schedule.at, how))), "mirror"))
    _end(pod)
    _finished(pod if node == "kept" else shard.pod(2), schedule.rng)


def _be_overtaken(schedule: Schedule, shard: Shard) -> None:
    """Have an attempt stand still, which is no death, until its successor has begun or ended."""
    rng = schedule.rng
    strike = Strike(schedule.at, "stall")
    if schedule.how == "restore":
        pod = _after_a_death(shard, len(calm(shard.style.name).mirrored))
        zombie = pod.restore(strike)
    else:
        pod = shard.pod(1)
        _restored(pod)
        pod.begin()
        zombie = pod.mirror(strike)
        if isinstance(zombie, Life):
            _end(pod)
    if isinstance(zombie, Stalled) and rng.random() < 0.5:
        successor = shard.pod(pod.attempt + 1)
        if _restored(successor):
            successor.begin()
            _check(wrong_with(_lived(successor.mirror(_random_strike(shard, rng))), "mirror"))
            _end(successor)
        _come_back(zombie, pod)
        _finished(shard.pod(successor.attempt + 1), rng)
    else:
        _finished(shard.pod(pod.attempt + 1), rng)
        if isinstance(zombie, Stalled):
            _come_back(zombie, pod)


def _come_back(zombie: Stalled, pod: Pod) -> None:
    life = zombie.go()
    _check(wrong_with(life, "overtaken process"))
    pod.note_acknowledged()
    outcome = outcome_of(life)
    if outcome is not None and outcome[1] in ("Restored", "FreshStart"):
        # It had written all that a restore writes; then it is the mirror that must not write.
        pod.begin()
        life = _lived(pod.mirror())
        _end(pod, is_overtaken=True)
    if not shut_out(life, pod):
        raise _Wrong(f"an attempt was overtaken, and ended as if it were not: {outcome_of(life)}")


def _finished(pod: Pod, rng: random.Random, *, first: Strike | None = None, with_pod: bool = True) -> None:
    """Bring a shard to its end from a pod in which nothing runs; `first` is what strikes its first mirror.

    Mirrors die with the experiment (`with_pod`) or alone, by chance some more than the first.
    """
    shard = pod.shard
    left = rng.choice(_MORE_STRIKES)
    strikes = ([first] if first else []) + [_random_strike(shard, rng) for _ in range(left)]
    for _ in range(_MOST_LIVES):
        if not _restored(pod):
            return
        pod.begin()
        strike = strikes.pop(0) if strikes else None
        life = _lived(pod.mirror(strike))
        while life.killed and not with_pod:
            # The container is started again in the same pod, and the experiment has not waited for it.
            pod.go_on(rng.randrange(4))
            strike = strikes.pop(0) if strikes else None
            life = _lived(pod.mirror(strike))
        _check(wrong_with(life, "mirror"))
        _end(pod)
        outcome = outcome_of(life)
        if outcome is not None:
            if outcome[1] != calm(shard.style.name).ends_in:
                raise _Wrong(f"the last attempt has ended as {outcome[1]}: {outcome[2]}")
            return
        if rng.random() < 0.7:
            pod = shard.pod(pod.attempt + 1)
    raise _Wrong(f"after {_MOST_LIVES} lives the shard has not ended")


def _random_strike(shard: Shard, rng: random.Random) -> Strike:
    return Strike(rng.randrange(len(calm(shard.style.name).mirrored)), rng.choice(("before", "half")))


def _restored(pod: Pod) -> bool:
    """Restore, and return whether there is something left to run."""
    again = (pod.snapshot / ".sweep" / f"restored-{pod.attempt}").exists()
    life = _lived(pod.restore())
    _check(wrong_with(life, "restore"))
    outcome = outcome_of(life)
    assert outcome is not None
    if outcome[0] == Exit.COMPLETE:
        return False
    if outcome[0] != Exit.OK or outcome[1] not in ("Restored", "FreshStart"):
        raise _Wrong(f"a restore that nothing happens to ended with {outcome[1]}: {outcome[2]}")
    if not again:
        _check([*wrong_after_restore(pod)])
    return True


def _end(pod: Pod, *, is_overtaken: bool = False) -> None:
    pod.end()
    # Whoever is overtaken, or started again after the end, is told that nobody stores anything any more: so it should.
    is_told = pod.experiment_failed.startswith("NotDurable") and (is_overtaken or has_ended(pod, Kind.COMPLETE))
    if pod.experiment_failed and not is_told:
        raise _Wrong(f"the experiment cannot go on: {pod.experiment_failed}")


def _lived(life: Life | Stalled) -> Life:
    assert isinstance(life, Life)
    return life


def _check(wrong: list[str]) -> None:
    if wrong:
        raise _Wrong("; ".join(wrong))


@contextmanager
def _shard(style: str) -> Iterator[Shard]:
    with fresh_folder() as folder:
        shard = Shard(STYLES[style], folder, style)
        shard.prepare()
        try:
            yield shard
        finally:
            shard.end_all()


_KINDS: dict[str, Any] = {
    "restore-kill": _kill_restore,
    "mirror-kill": _kill_mirror,
    "pod-kill": _kill_pod,
    "pod-zombie": _be_overtaken,
}
KINDS: tuple[schedules.Kind, ...] = (
    schedules.Kind("restore-kill", _restore_kills, _tried),
    schedules.Kind("mirror-kill", _mirror_kills, _tried),
    schedules.Kind("pod-kill", _pod_kills, _tried),
    schedules.Kind("pod-zombie", _zombies, _tried),
)
