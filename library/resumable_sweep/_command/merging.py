"""The items of one or several logs together: each key once, and a disagreement found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.log_view import LogView, Standing
from resumable_sweep._ledger import State
from resumable_sweep.contract.canonical import canonical_json, identity
from resumable_sweep.contract.items import Item

_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Placed:
    """How an item stands, and in which log."""

    view: LogView
    standing: Standing


class Merged:
    """What `views` say of each key.

    A result stands before what else is said of its key. Of two other entries, that of the later log counts.

    Parameters
    ----------
    last_wins:
        Where two logs have different results of a key, the later log's counts.

    Raises
    ------
    CommandError
        Where two logs have different results of a key.
    """

    def __init__(self, views: Sequence[LogView], *, last_wins: bool) -> None:
        self._views = views
        self._by_name: dict[str, Placed] = {}
        for view in views:
            for standing in view.standings():
                self._take(Placed(view, standing), last_wins=last_wins)

    def in_state(self, state: State, order: Sequence[Item] = ()) -> Iterator[Placed]:
        """Yield the items that stand like that: in the order of `order`, and only those, else of the logs."""
        names = [identity(item.key) for item in order] if order else list(self._by_name)
        for name in names:
            placed = self._by_name.get(name)
            if placed is not None and placed.standing.state is state:
                yield placed

    def check_complete(self, order: Sequence[Item] = ()) -> None:
        """Refuse logs that do not hold the whole sweep: every shard, each to its end, every item of `order`.

        Raises
        ------
        CommandError
        """
        mend = "resume it, or pass --partial to export what there is"
        for view in self._views:
            if view.scan.damaged:
                count = len(view.scan.damaged)
                raise CommandError(
                    Ending.CORRUPT,
                    f"{view.path} has {count} damaged line{'s' if count > 1 else ''}: `resumable-sweep verify` says "
                    f"which; {mend}",
                )
            why = view.why_not_complete()
            if why is not None:
                counts = view.counts()
                settled, total = counts[State.DONE] + counts[State.SKIPPED], view.total()
                raise CommandError(
                    Ending.INCOMPLETE,
                    f"{view.path} is not complete: {why}; {settled} items"
                    + ("" if total is None else f" of {total}")
                    + f" are done or skipped: {mend}",
                )
            if not order and (removed := view.removed):
                raise CommandError(
                    Ending.INCOMPLETE,
                    f"{view.path} holds {removed} results of keys that are items no longer: name the items with "
                    "--items FILE, or pass --partial to export those as well",
                )
        self._check_shards()
        states = (State.DONE, State.SKIPPED)
        missing = [
            name
            for name in (identity(item.key) for item in order)
            if (placed := self._by_name.get(name)) is None or placed.standing.state not in states
        ]
        if missing:
            named = ", ".join(missing[:_NAMED_AT_MOST]) + (", ..." if len(missing) > _NAMED_AT_MOST else "")
            raise CommandError(
                Ending.INCOMPLETE,
                f"{len(missing)} of the {len(order)} items in --items are not done: {named:.400}; {mend}",
            )

    def _check_shards(self) -> None:
        numbers = {view.header.get("shards") for view in self._views}
        if len(numbers) != 1:
            return  # a sweep that was cut up anew: only the items themselves could tell
        number = numbers.pop()
        have = {view.header.get("shard") for view in self._views}
        missing = [shard for shard in range(number if type(number) is int else 1) if shard not in have]
        if missing and type(number) is int and number > 1:
            raise CommandError(
                Ending.INCOMPLETE,
                f"of the {number} shards, {', '.join(map(str, missing[:_NAMED_AT_MOST]))}"
                f"{', ...' if len(missing) > _NAMED_AT_MOST else ''} "
                f"{'are' if len(missing) > 1 else 'is'} not among the logs: name all of them, or pass --partial",
            )

    def _take(self, placed: Placed, *, last_wins: bool) -> None:
        standing = placed.standing
        before = self._by_name.get(standing.name)
        if before is None or before.view is placed.view:
            self._by_name[standing.name] = placed
            return
        if before.standing.state is not State.DONE:
            self._by_name[standing.name] = placed
            return
        if standing.state is not State.DONE:
            return
        if _result(before) != _result(placed):
            if not last_wins:
                raise CommandError(
                    Ending.DUPLICATE_KEYS,
                    f"{before.view.path} and {placed.view.path} have different results of item "
                    f"{standing.name:.200}: find out which is right, or pass --last-wins for that of the later log",
                )
            self._by_name[standing.name] = placed


def _result(placed: Placed) -> str:
    return canonical_json(placed.view.entry(placed.standing).get("result"))
