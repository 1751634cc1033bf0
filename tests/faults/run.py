"""A standard run of one shard under a schedule of faults, and what of it differs from an undisturbed one."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crash.schedules import Schedule
from faults.kinds import PROVE_DAMAGE, ZOMBIES, store_strikes
from faults.life import Life, begun
from faults.proxy import Door, Proxy, Strike
from faults.servers import WORDINGS, server_named
from resumable_sweep.contract.outcome import Exit

ITEMS = 16
"""More than the attempts that are struck can record: there is something left for the last one."""
_CALM_S = 30.0
_DEADLINE_S = {"silent": 0.5, "mixed": 3.0}
"""A silent server costs a call's whole deadline; for all others it is far away."""
_DEFAULT_DEADLINE_S = 10.0
_TRIES = (1, 1, 2, 4)
"""How often a step is taken where the store does not answer: its node may die before the next try."""
_ENDS = {Exit.OK, Exit.STORE_UNREACHABLE, Exit.SUPERSEDED, Exit.COMPLETE}
"""How a restore may end under faults that pass: any other end would stop the sweep for good."""
_PROBLEMS = ("", "StoreUnreachable", "Superseded")
_DAMAGED = {Exit.CHECKPOINT_CORRUPT, Exit.ITEMS_CHANGED}
"""How it may end as well where damage was proved to it."""


class _Wrong(Exception):
    """Something that must not happen; the message says what."""


class _Shard:
    """The attempts of one shard, each at a door of its own, and all that they were told is durable."""

    def __init__(self, server: str, folder: Path, proxy: Proxy, *, damage: bool) -> None:
        self.damage = damage
        self._server = server_named(server)
        self._bucket = self._server.make_bucket()
        self._folder = folder
        self._proxy = proxy
        self._items_sha256 = ""
        self.tries = _TRIES[-1]
        self.void = -1
        self.said: list[dict[str, Any]] = []
        self.durable: set[str] = set()
        self.told: list[str] = []
        self.lives: list[Life] = []
        self.doors: list[Door] = []

    def life(self, attempt: int, *strikes: Strike, deadline_s: float = _CALM_S) -> tuple[Life, Door]:
        """Start an attempt's process."""
        door = self._proxy.door(*strikes)
        snapshot = self._folder / f"pod-{attempt}"
        snapshot.mkdir(exist_ok=True)
        environment = self._server.environment(f"http://127.0.0.1:{door.port}", bucket=self._bucket) | {
            "SWEEP_STORE_URL": f"{self._server.scheme}://{self._bucket}/ns/sweep/run",
            "SWEEP_RUN_ID": "run",
            "SWEEP_SHARDS": "1",
            "SWEEP_SHARD": "0",
            "SWEEP_ATTEMPT": str(attempt),
            "SWEEP_POD_UID": f"pod-{attempt}",
            "SWEEP_SNAPSHOT_DIR": str(snapshot),
            "SWEEP_CHECKPOINT_FILE": "results.jsonl",
            "SWEEP_ITEMS_SHA256": self._items_sha256,
        }
        life = begun(environment, deadline_s=deadline_s)
        door.pid = life.pid
        self.lives.append(life)
        self.doors.append(door)
        return life, door

    def resolve(self) -> None:
        specification = self._folder / "items.json"
        specification.write_text(json.dumps({"list": [{"key": f"item-{number}"} for number in range(ITEMS)]}))
        life, _ = self.life(0)
        said = self.take(life, "resolve", items=str(specification))
        self._items_sha256 = said["details"]["items_sha256"]
        life.kill()

    def take(self, life: Life, name: str, **arguments: Any) -> dict[str, Any]:
        """Take a step; what it says is noted, and must be nothing that cannot be."""
        said = life.step(name, **arguments)
        shown = {key: value for key, value in said.items() if key not in ("acknowledged", "details", "durable", "keys")}
        self.told.append(f"{name} of {life.pid}: {json.dumps(shown)[:300] if said else 'killed'}")
        if "defect" in said:
            raise _Wrong(said["defect"])
        if "acknowledged" in said:
            if (said["acknowledged"]["generation"] or 0) > self.void:
                self.durable |= set(said["durable"])
            self.said.append(said["acknowledged"])
        return said

    def restore(self, life: Life) -> bool:
        """Restore, in the same pod again where the store did not answer; return whether it came to its end."""
        durable = set(self.durable)
        for _ in range(self.tries):
            said = self.take(life, "restore")
            if not said:
                return False
            if said["code"] not in (_ENDS | _DAMAGED if self.damage else _ENDS):
                raise _Wrong(f"the restore ended with {said['reason']}: {said['message']}")
            if said["code"] != Exit.STORE_UNREACHABLE:
                break
        if said["code"] != Exit.OK:
            return False
        if len(set(said["keys"])) < len(said["keys"]):
            raise _Wrong(f"a record was restored twice: {said['keys']}")
        fell_back = said["reason"] in ("CheckpointFellBack", "CheckpointLost")
        if fell_back and not self.damage:
            raise _Wrong(f"nothing is damaged, yet: {said['message']}")
        if fell_back:
            # What was acknowledged of all that is below is given up, and was said to be.
            self.durable = set(said["keys"])
            calm, _ = self.life(4)
            self.void = self.take(calm, "top")["seq"]
            calm.kill()
        if (lost := durable - set(said["keys"])) and not fell_back:
            raise _Wrong(f"{sorted(lost)} were acknowledged, and the next attempt has not got them: {said['message']}")
        return True

    def begin(self, life: Life) -> bool:
        """Start the mirror; return whether it has found its place."""
        said = self.step(life, "begin")
        return said.get("unreachable") == ""

    def step(self, life: Life, name: str) -> dict[str, Any]:
        """Take a step of the mirror, again where the store did not answer or it has to be started again."""
        said: dict[str, Any] = {}
        for _ in range(self.tries):
            said = self.take(life, name)
            if "overtaken" in said:
                self.take(life, "begin")
            elif not said.get("unreachable"):
                break
        if said.get("problem") not in (None, *_PROBLEMS, *(["CheckpointCorrupt"] if self.damage else [])):
            raise _Wrong(f"the mirror says {said['problem']}: {said['message']}")
        return said


def wrong_in_run(schedule: Schedule) -> list[str]:
    """Return the ways in which a run under these faults is not as good as an undisturbed one."""
    expected = undisturbed(schedule.program)
    damage = _kind(schedule) in PROVE_DAMAGE
    with _shard(schedule.program, damage=damage) as (shard, proxy):
        try:
            _live_under(schedule, shard, proxy)
            wrong = _wrong_at_the_end(shard, expected)
        except (_Wrong, TimeoutError) as error:
            wrong = [str(error)]
        struck = [text for door in shard.doors for text in door.struck]
        return [*wrong, "struck: " + ", ".join(struck), *shard.told[-30:]] if wrong else []


@functools.cache
def undisturbed(server: str) -> str:
    """Return the merged results of a run that nothing has happened to."""
    with _shard(server) as (shard, _):
        _end_calmly(shard, attempt=1)
        return _merged(shard)


@contextmanager
def _shard(server: str, *, damage: bool = False) -> Iterator[tuple[_Shard, Proxy]]:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        proxy = Proxy(server_named(server).port)
        shard = _Shard(server, Path(folder), proxy, damage=damage)
        try:
            shard.resolve()
            yield shard, proxy
        finally:
            for life in shard.lives:
                life.kill()
            proxy.close()


def _live_under(schedule: Schedule, shard: _Shard, proxy: Proxy) -> None:
    rng = schedule.rng
    name = _kind(schedule)
    deadline_s = _DEADLINE_S.get(name, _DEFAULT_DEADLINE_S)
    zombies: list[Life] = []
    for attempt in (1, 2):
        at = schedule.at if attempt == 1 else rng.randrange(schedule.at + 4)
        strikes = store_strikes(name, WORDINGS[schedule.program], at, rng)
        life, door = shard.life(attempt, *strikes, deadline_s=deadline_s)
        shard.tries = rng.choice(_TRIES)
        if not shard.restore(life) or not shard.begin(life):
            life.kill()
        else:
            for _ in range(rng.randint(1, 3)):
                _step_of_some(shard, [life, *zombies], rng)
                if rng.random() < 0.3:
                    proxy.deliver(door)
        if schedule.how == ZOMBIES and not life.dead:
            zombies.append(life)
        elif rng.random() < 0.3 and not life.dead:
            shard.step(life, "finish")
        else:
            life.kill()
    _end_calmly(shard, attempt=3, zombies=zombies, rng=rng)
    for door in shard.doors:
        proxy.deliver(door)
    for zombie in zombies:
        _check_shut_out(shard.step(zombie, "finish"))


def _step_of_some(shard: _Shard, lives: list[Life], rng: random.Random) -> None:
    for life in lives:
        shard.take(life, "record", count=rng.randint(1, 2))
        said = shard.step(life, "look")
        if life is not lives[0]:
            _check_shut_out(said)


def _check_shut_out(said: dict[str, Any]) -> None:
    """Check that an attempt has noticed, in a look at something new, that the shard is another's."""
    if said.get("stage") == "mirroring" and not said["unreachable"]:
        raise _Wrong("an attempt that is shut out goes on as if it were not")


def _end_calmly(
    shard: _Shard, *, attempt: int, zombies: list[Life] | None = None, rng: random.Random | None = None
) -> None:
    """Bring the shard to its end by an attempt that nothing happens to."""
    life, _ = shard.life(attempt)
    shard.tries = _TRIES[-1]
    if not shard.restore(life) or not shard.begin(life):
        raise _Wrong("an attempt that nothing happens to could not begin")
    for zombie in zombies or []:
        assert rng is not None
        shard.take(zombie, "record", count=1)
        _check_shut_out(shard.step(zombie, "look"))
    shard.take(life, "record", count=ITEMS)
    said = shard.step(life, "finish")
    if said.get("stage") != "complete":
        raise _Wrong(f"an attempt that nothing happens to has not completed the shard: {said}")


def _wrong_at_the_end(shard: _Shard, expected: str) -> list[str]:
    merged = _merged(shard)
    wrong = [] if merged == expected else [f"merged:\n{merged}\ninstead of:\n{expected}"]
    life, _ = shard.life(4)
    wrong += shard.take(life, "check", said=shard.said, damage=shard.damage)["wrong"]
    return wrong


def _merged(shard: _Shard) -> str:
    life, _ = shard.life(4)
    said = shard.take(life, "merge")
    if said["reason"] != "Merged":
        raise _Wrong(f"the merge ended with {said['reason']}: {said['message']}")
    merged: str = shard.take(life, "get", url=said["details"]["url"])["content"]
    return merged


def _kind(schedule: Schedule) -> str:
    return schedule.kind.removeprefix("store-")
