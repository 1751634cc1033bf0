"""Who may write the next entry of a shard's log: pure decisions, from the newest entry alone."""

from __future__ import annotations

from sweep_sidecar.log.entry import Entry, Kind, Writer

_FOLLOWS = {
    Kind.BASE: (Kind.TAKE,),
    Kind.GEN: (Kind.BASE, Kind.GEN),
    Kind.SEAL: (Kind.BASE, Kind.GEN),
    Kind.COMPLETE: (Kind.BASE, Kind.GEN),
}
"""Which kinds of the same pod an entry may follow."""


class Superseded(Exception):
    """A higher attempt, or a twin of this one, has taken the shard: this writer stops for good."""

    def __init__(self, head: Entry) -> None:
        self.head = head
        super().__init__(
            f"attempt {head.writer.attempt} (pod {head.writer.pod}) has taken the shard with entry {head.seq}"
        )


class ShardComplete(Exception):
    """The log has ended in `complete`: there is nothing left to run."""

    def __init__(self, head: Entry) -> None:
        self.head = head
        super().__init__(f"entry {head.seq} says that the shard is complete")


class Overtaken(Exception):
    """Somebody has written who does not shut this attempt out: it must look at the log anew, best by starting again."""


class Misplaced(Exception):
    """The writer asks for an entry that cannot follow the newest one: an error of this program."""


def check_take(head: Entry | None, writer: Writer) -> None:
    """Let `writer` take the shard whose newest entry is `head`.

    It may where nobody has, where a lower attempt has, or where its own pod has (it was started again in place).

    Raises
    ------
    Superseded, ShardComplete
    """
    if head is None:
        return
    if head.kind is Kind.COMPLETE:
        raise ShardComplete(head)
    if head.writer.attempt > writer.attempt or (
        head.writer.attempt == writer.attempt and head.writer.pod != writer.pod
    ):
        raise Superseded(head)


def check_append(head: Entry | None, kind: Kind, writer: Writer) -> None:
    """Let `writer` add an entry of `kind` (any but `take`) after `head`.

    Raises
    ------
    Superseded, ShardComplete, Misplaced
    """
    if head is not None:
        check_take(head, writer)
    if head is None or head.writer.pod != writer.pod or head.kind not in _FOLLOWS[kind]:
        raise Misplaced(f"a {kind} of {writer} cannot follow {head and (head.kind, head.writer)}")


def check_lost_slot(winner: Entry, writer: Writer) -> None:
    """Say what it means that somebody else stands in the slot that `writer`, the shard's holder, wanted.

    Raises
    ------
    Superseded, ShardComplete, Overtaken
        Always one of them.
    """
    check_take(winner, writer)
    if winner.writer.attempt == writer.attempt:
        raise Overtaken(f"entry {winner.seq} was written by another process of this pod")
    # A lower attempt takes the shard only where the entry by which this one has taken it is damaged.
    raise Overtaken(
        f"attempt {winner.writer.attempt} wrote entry {winner.seq} although {writer.attempt} held the shard"
    )


def is_legal(before: Entry | None, entry: Entry) -> bool:
    """Return whether `entry` may stand directly after `before`, for whoever reads or checks a whole log."""
    try:
        if entry.kind is Kind.TAKE:
            check_take(before, entry.writer)
        else:
            check_append(before, entry.kind, entry.writer)
    except (Superseded, ShardComplete, Misplaced):
        return False
    return entry.seq == (0 if before is None else before.seq + 1)
