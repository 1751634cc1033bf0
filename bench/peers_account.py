"""What a strike cost one side: told by its pods, by its results, and by what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from trial.follower import Worker


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One side after one strike; seconds are since then, None where it did not happen while it was watched.

    There is one entry in `to_created_s` and `to_working_s` for each struck pod. `verdict` is `Complete` or `Failed`,
    empty where the side had not ended after `watched_s`. `missing` are items of a side that has ended that are not
    among its results, `called_done` those of them that it counts as done.
    """

    side: str
    verdict: str
    watched_s: float
    done_before: int
    to_created_s: tuple[float | None, ...]
    to_working_s: tuple[float | None, ...]
    run_again: int
    missing: int
    called_done: int


def outcome_of(
    side: str,
    *,
    struck: Sequence[Worker],
    at: float,
    workers: Sequence[Worker],
    items: Mapping[int, Set[str]],
    kept: Set[str],
    said_done: Set[int],
    verdict: str,
    watched_s: float,
) -> Outcome:
    """Return what came of the pods `struck` at Unix time `at`, among all `workers` of that side, oldest first.

    `items` are the keys of each shard or index, `kept` those of the results, `said_done` the indexes called done.
    A pod works again when an item of its index is finished that counts in the end: by a pod made later, or where none
    was made, by the struck one itself, if that got to the end of its items.
    """
    created, working = [], []
    for hit in struck:
        later = [each for each in workers if each.index == hit.index and each.created_at > at]
        heirs = later or ([hit] if items[hit.index] <= {ran.key for ran in hit.ran} else [])
        finished = [ran.at for heir in heirs for ran in heir.ran if ran.at > at and ran.key in kept]
        created.append(round(later[0].created_at - at, 1) if later else None)
        working.append(round(min(finished) - at, 1) if finished else None)
    done = [ran.key for worker in workers for ran in worker.ran]
    promised = {key for index in said_done for key in items[index]}
    wanted = {key for keys in items.values() for key in keys}
    return Outcome(
        side=side,
        verdict=verdict,
        watched_s=round(watched_s, 1),
        done_before=sum(ran.at <= at for hit in struck for ran in hit.ran),
        to_created_s=tuple(created),
        to_working_s=tuple(working),
        run_again=len(done) - len(set(done)),
        missing=len(wanted - kept) if verdict else 0,
        called_done=len(promised - kept),
    )
