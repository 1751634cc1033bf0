"""What happens to a sweep from its creation to its deletion, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fire.player import How
from fire.stand import Stand
from fire.sweep import SHARDS
from fire.verdict import come_to, recorded

_NOTICE_SECONDS = 30.0
"""From the notice to the machine's end, as on Compute Engine."""


def _loses(how: How) -> Callable[[Stand], dict[str, Any]]:
    def play(stand: Stand) -> dict[str, Any]:
        """Two shards with three items each; the first loses its attempt after one of them."""
        stand.player.hold(stand.namespace, 0, items=1)
        stand.sweep.apply()
        # That the status has its item says that the operator knows where it runs.
        stand.wait(lambda: _knows(stand, shard=0), "shard 0 to stand still")
        lost = stand.player.lose(stand.namespace, 0, how=how)
        # Before it has heard of its end it would go on to that of its items.
        stand.wait(lambda: stand.player.holds(stand.namespace, 0) != lost, "the lost attempt to end")
        stand.player.release(stand.namespace, 0)
        return _to_the_end(stand)

    return play


def _suspended(stand: Stand) -> dict[str, Any]:
    """Suspended while the first shard stands still, and then not any more."""
    stand.player.hold(stand.namespace, 0, items=1)
    stand.sweep.apply()
    stand.wait(lambda: _knows(stand, shard=0), "shard 0 to stand still")
    stand.sweep.change(suspend=True)
    stand.wait(lambda: stand.sweep.status().get("phase") == "Suspended", "the sweep to be suspended")
    stand.player.release(stand.namespace, 0)
    stand.sweep.change(suspend=False)
    return _to_the_end(stand)


def _announced(stand: Stand) -> dict[str, Any]:
    """The first shard's machine goes a while after the cloud has said so; its successor waits by then."""
    stand.player.hold(stand.namespace, 0, items=1)
    stand.sweep.apply()
    stand.wait(lambda: _knows(stand, shard=0), "shard 0 to stand still")
    leaving = stand.player.announce(stand.namespace, 0, seconds=_NOTICE_SECONDS)
    stand.wait(lambda: recorded(stand.sweep.status(), shards=SHARDS)[0].notice, "the notice to be noted")
    stand.wait(lambda: _last_attempt(stand, shard=0) > leaving, "a successor to be made")
    stand.player.lose(stand.namespace, 0, how="shutdown", attempt=leaving)
    # As above: a machine that goes must not still finish what is released.
    # Nor is its successor asked, which is the newest and has nothing to stand still with.
    stand.wait(lambda: stand.player.holds(stand.namespace, 0, attempt=leaving) is None, "the announced attempt to end")
    stand.player.release(stand.namespace, 0)
    return _to_the_end(stand)


def _gone(stand: Stand) -> dict[str, Any]:
    """Deleted while both shards stand still."""
    for shard in range(SHARDS):
        stand.player.hold(stand.namespace, shard, items=1)
    stand.sweep.apply()
    stand.wait(lambda: all(_knows(stand, shard=shard) for shard in range(SHARDS)), "all shards to stand still")
    stand.sweep.begin_deletion()
    stand.wait(lambda: not stand.sweep.leftovers(), "nothing to be left of the sweep")
    return {}


def _last_attempt(stand: Stand, *, shard: int) -> int:
    return max(made.attempt for made in stand.player.made(stand.namespace) if made.shard == shard)


def _to_the_end(stand: Stand) -> dict[str, Any]:
    stand.wait(lambda: stand.sweep.status().get("phase") in ("Complete", "Failed"), "the end")
    stand.wait(lambda: not stand.sweep.pods(), "no pod to be left over")
    result = come_to(stand.sweep.status(), shards=SHARDS)
    stand.sweep.begin_deletion()
    stand.wait(lambda: not stand.sweep.leftovers(), "nothing to be left of the sweep")
    return result


def _knows(stand: Stand, *, shard: int) -> bool:
    """Return whether a shard's experiment stands still, and the status has what it did and where."""
    if stand.player.holds(stand.namespace, shard) is None:
        return False
    record = recorded(stand.sweep.status(), shards=SHARDS)[shard]
    return record.done >= 1 and bool(record.node)


SCRIPTS: Mapping[str, Callable[[Stand], dict[str, Any]]] = {
    **{how: _loses(how) for how in ("node", "shutdown", "delete", "evict")},
    "suspend": _suspended,
    "notice": _announced,
    "gone": _gone,
}
