from __future__ import annotations

import pytest

from sweep_sidecar.log.entry import Entry, Kind, Writer
from sweep_sidecar.log.fencing import (
    Misplaced,
    Overtaken,
    ShardComplete,
    Superseded,
    check_append,
    check_lost_slot,
    check_take,
    is_legal,
)


def entry(kind: Kind, attempt: int, pod: str = "", seq: int = 4) -> Entry:
    writer = Writer(attempt, pod or f"pod-{attempt}", "nonce")
    return Entry(seq=seq, kind=kind, writer=writer, prev_sha256="", time=0.0)


ME = Writer(5, "pod-5", "mine")


@pytest.mark.parametrize("kind", [Kind.TAKE, Kind.BASE, Kind.GEN, Kind.SEAL])
@pytest.mark.parametrize(
    ("attempt", "pod", "may"),
    [(4, "pod-4", True), (6, "pod-6", False), (5, "pod-5", True), (5, "its-twin", False), (0, "pod-0", True)],
)
def test_who_may_take_the_shard(kind: Kind, attempt: int, pod: str, may: bool) -> None:
    head = entry(kind, attempt, pod)
    if may:
        check_take(head, ME)
    else:
        with pytest.raises(Superseded, match=f"attempt {attempt} "):
            check_take(head, ME)


def test_a_new_shard_is_free_to_take() -> None:
    check_take(None, ME)


@pytest.mark.parametrize("attempt", [4, 5, 6])
def test_nobody_takes_a_complete_shard(attempt: int) -> None:
    with pytest.raises(ShardComplete):
        check_take(entry(Kind.COMPLETE, attempt), ME)


@pytest.mark.parametrize(
    ("before", "kind", "may"),
    [
        (Kind.TAKE, Kind.BASE, True),
        (Kind.TAKE, Kind.GEN, False),
        (Kind.TAKE, Kind.SEAL, False),
        (Kind.BASE, Kind.BASE, False),
        (Kind.BASE, Kind.GEN, True),
        (Kind.BASE, Kind.SEAL, True),
        (Kind.BASE, Kind.COMPLETE, True),
        (Kind.GEN, Kind.GEN, True),
        (Kind.GEN, Kind.SEAL, True),
        (Kind.GEN, Kind.COMPLETE, True),
        (Kind.SEAL, Kind.GEN, False),
        (Kind.SEAL, Kind.COMPLETE, False),
    ],
)
def test_what_may_follow_what(before: Kind, kind: Kind, may: bool) -> None:
    head = entry(before, 5)
    assert is_legal(head, entry(kind, 5, seq=5)) is may
    if may:
        check_append(head, kind, ME)
    else:
        with pytest.raises(Misplaced):
            check_append(head, kind, ME)


def test_only_the_holder_appends() -> None:
    with pytest.raises(Misplaced):
        check_append(entry(Kind.GEN, 4), Kind.GEN, ME)
    with pytest.raises(Misplaced):
        check_append(None, Kind.GEN, ME)
    with pytest.raises(Superseded):
        check_append(entry(Kind.GEN, 6), Kind.GEN, ME)
    with pytest.raises(ShardComplete):
        check_append(entry(Kind.COMPLETE, 5), Kind.GEN, ME)


def test_what_a_lost_slot_means() -> None:
    with pytest.raises(Superseded):
        check_lost_slot(entry(Kind.TAKE, 6), ME)
    with pytest.raises(ShardComplete):
        check_lost_slot(entry(Kind.COMPLETE, 5), ME)
    with pytest.raises(Overtaken):
        check_lost_slot(entry(Kind.GEN, 5), ME)
    with pytest.raises(Overtaken):
        check_lost_slot(entry(Kind.GEN, 4), ME)


def test_a_log_has_no_gap_and_starts_with_a_take() -> None:
    assert is_legal(None, entry(Kind.TAKE, 0, seq=0))
    assert not is_legal(None, entry(Kind.TAKE, 0, seq=1))
    assert not is_legal(None, entry(Kind.GEN, 0, seq=0))
    assert not is_legal(entry(Kind.GEN, 5, seq=4), entry(Kind.GEN, 5, seq=6))
