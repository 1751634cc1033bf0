from __future__ import annotations

import base64
import random
import zlib
from typing import Any

import pytest
from builders import NOW, node
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.model.shard_record import (
    ShardRecord,
    ShardState,
    ShardTable,
    index_ranges,
    indices_of,
    records_of,
    table_of,
)
from sweep_operator.model.signals import Signal

counts = st.integers(0, 2000)
tenths = st.one_of(st.just(0.0), st.integers(1, 20_000_000_000).map(lambda tenths: tenths / 10))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=40)


@st.composite
def notices(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a record that a notice fills."""
    heir = draw(st.integers(0, 10**6))
    return {
        "notice": draw(st.sampled_from(NoticeKind)),
        "noticed_at": draw(st.one_of(st.just(0.0), st.integers(0, 20_000_000_000).map(lambda tenths: tenths / 10))),
        "deadline": draw(st.one_of(st.just(0), st.integers(1, 2_000_000_000))),
        "heir": heir,
        "heir_ended": bool(heir) and draw(st.booleans()),
    }


@st.composite
def records(draw: st.DrawFn, most: int = 5) -> list[ShardRecord]:
    nodes = draw(st.lists(st.builds("{}/{}".format, names, st.text("0123456789abcdef", min_size=6, max_size=6))))
    return [
        ShardRecord(
            shard=shard,
            state=draw(st.sampled_from(ShardState)),
            attempt=draw(st.integers(0, 10**6)),
            signal=draw(st.sampled_from(Signal)),
            since=draw(st.one_of(st.just(0.0), st.integers(0, 20_000_000_000).map(lambda tenths: tenths / 10))),
            done=draw(counts),
            recorded=draw(counts),
            base=draw(counts),
            setbacks=draw(counts),
            user_failures=draw(counts),
            not_before=draw(st.one_of(st.just(0), st.integers(1, 2_000_000_000))),
            node=draw(st.sampled_from(["", *nodes])),
            silenced=draw(counts),
            false_alarms=draw(counts),
            infrastructure_until=draw(tenths),
            reclaims_until=draw(tenths),
            unexplained=draw(counts),
            barren=draw(counts),
            generation=draw(counts),
            **draw(notices()),
        )
        for shard in range(draw(st.integers(0, most)))
    ]


@given(records())
def test_a_table_reads_back(before: list[ShardRecord]) -> None:
    assert records_of(table_of(before), shards=len(before)) == before


@given(records().filter(bool))
def test_a_packed_table_reads_back(before: list[ShardRecord]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep_operator.model.shard_record.PACKED_FROM_CHARACTERS", -1)
        table = table_of(before)
    assert table.text.startswith("x")
    assert records_of(table, shards=len(before)) == before


def test_a_short_table_can_be_read_by_people() -> None:
    active = ShardRecord(shard=0, state=ShardState.ACTIVE, attempt=5, done=3, recorded=4, base=1, node="n/abcdef")
    assert table_of([active, ShardRecord(shard=1)]) == ShardTable("A5,,,3,1,3,,,,1;W", ("n/abcdef",))


def test_a_noticed_shard_can_be_read_by_people() -> None:
    noticed = ShardRecord(
        shard=0,
        state=ShardState.ACTIVE,
        attempt=5,
        notice=NoticeKind.EC2_INTERRUPTION,
        noticed_at=100.5,
        deadline=220,
        heir=7,
    )
    assert table_of([noticed]).text == "A5,,,,,,,,,,2,100.5,120,7"
    assert table_of([noticed.changed(heir_ended=True)]).text.endswith(",7x")


def test_a_packed_table_of_the_version_before_notices_is_read() -> None:
    columns = ["A5", "", "", "3", "1", "3", "", "", "", "1"]
    text = "z" + base64.b64encode(zlib.compress("\n".join([*columns, "n/abcdef"]).encode())).decode()
    assert records_of(ShardTable(text), shards=1) == records_of(ShardTable("A5,,,3,1,3,,,,1", ("n/abcdef",)), shards=1)


def test_what_budgets_remember_can_be_read_by_people() -> None:
    spent = ShardRecord(
        shard=0, state=ShardState.WAITING, attempt=5, since=100.5, infrastructure_until=964.0, unexplained=2, barren=3
    )
    table = table_of([spent])
    assert table.text == "W5,,100.5,,,,,,,,,,,,,,864,,2,3"
    assert records_of(table, shards=1) == [spent]


@pytest.mark.parametrize(
    ("ranges", "indices"),
    [("3", [3]), ("3,5-7", [3, 5, 6, 7]), (" 7 , 5-6,6", [5, 6, 7]), ("0-0", [0])],
    ids=["one", "ranges", "in any order, with blanks", "a range of one"],
)
def test_ranges_name_indices(ranges: str, indices: list[int]) -> None:
    assert indices_of(ranges) == indices


@given(st.lists(st.integers(0, 10**4), unique=True, min_size=1).map(sorted))
def test_ranges_read_back(indices: list[int]) -> None:
    assert indices_of(index_ranges(indices)) == indices


@pytest.mark.parametrize("ranges", ["", ",", "a", "-1", "1-", "5-3", "1--2", "0-99999999", "1.5", "\u0663"])
def test_what_is_no_range_is_refused(ranges: str) -> None:
    with pytest.raises(ValueError, match=r"is neither|is no range"):
        indices_of(ranges)


def test_shards_beyond_the_table_are_new() -> None:
    assert records_of(ShardTable("C1"), shards=2)[1] == ShardRecord(shard=1)


@pytest.mark.parametrize(
    ("table", "shards"),
    [
        (ShardTable("A1;A2"), 1),
        (ShardTable("X1"), 1),
        (ShardTable("A1,999"), 1),
        (ShardTable("A1,,,,,,,,,1"), 1),
        (ShardTable("A1,,,,,,,,,,99"), 1),
        (ShardTable("A1" + "," * 21), 1),
        (ShardTable("zzz"), 1),
        (ShardTable("zAAAA"), 1),
        (ShardTable("xAAAA"), 1),
        (ShardTable("Aone"), 1),
    ],
    ids=[
        "more rows than shards",
        "an unknown state",
        "an unknown signal",
        "a node that is not listed",
        "an unknown notice",
        "too many cells",
        "not base64",
        "not deflated",
        "not compressed",
        "not a number",
    ],
)
def test_an_edited_table_is_refused(table: ShardTable, shards: int) -> None:
    with pytest.raises(ValueError):
        records_of(table, shards=shards)


def unusual(shard: int, chance: random.Random) -> ShardRecord:
    """A shard with a past: reclaimed before, failed before, delayed, and different from all others."""
    done = chance.randrange(1000)
    since = NOW + chance.randrange(864_000) / 10
    name = f"gke-cluster-1-spot-pool-1a2b3c4d-{shard % 5000:04x}"
    return ShardRecord(
        shard=shard,
        state=chance.choice([ShardState.ACTIVE, ShardState.WAITING, ShardState.LEAVING, ShardState.STOPPING]),
        attempt=chance.randrange(10_000, 100_000),
        signal=chance.choice(list(Signal)[1:]),
        since=since,
        done=done,
        recorded=done + chance.randrange(10),
        base=max(1, done - chance.randrange(100)),
        setbacks=chance.randrange(1, 10),
        user_failures=chance.randrange(1, 4),
        not_before=int(since) + chance.choice([5, 10, 20, 40, 80, 160, 300]),
        node=f"{name}/{node(name, boot_id=name).incarnation}",
        infrastructure_until=float(int(since) + 864 * chance.randrange(1, 5)),
        unexplained=chance.randrange(2),
        barren=chance.randrange(1, 5),
    )


def test_10_000_unusual_shards_on_5_000_nodes_fit_in_256_kib() -> None:
    chance = random.Random(3)
    before = [unusual(shard, chance) for shard in range(10_000)]
    table = table_of(before)
    assert len(table.text) + sum(map(len, table.nodes)) < 256 * 1024
    assert records_of(table, shards=10_000) == before


def test_2_000_of_them_may_be_about_to_lose_their_machines() -> None:
    chance = random.Random(3)
    before = [unusual(shard, chance) for shard in range(10_000)]
    for shard in range(0, 10_000, 5):
        noticed_at = NOW + chance.randrange(1200) / 10
        before[shard] = before[shard].changed(
            notice=NoticeKind.EC2_INTERRUPTION,
            noticed_at=noticed_at,
            deadline=int(noticed_at) + 120,
            heir=100_000 + shard,
        )
    table = table_of(before)
    assert len(table.text) + sum(map(len, table.nodes)) < 256 * 1024
    assert records_of(table, shards=10_000) == before


def test_10_000_shards_under_way_fit_in_64_kib() -> None:
    before = [
        ShardRecord(
            shard=shard, state=ShardState.ACTIVE, attempt=shard + 1, base=1, node=f"n-{shard % 1250}/{shard % 1250:06x}"
        )
        for shard in range(10_000)
    ]
    table = table_of(before)
    assert len(table.text) + sum(map(len, table.nodes)) < 64 * 1024


@pytest.mark.parametrize(
    ("indices", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 5, 7, 8], "0-2,5,7-8")], ids=["none", "one", "runs"]
)
def test_indices_are_told_as_ranges(indices: list[int], text: str) -> None:
    assert index_ranges(indices) == text


def test_the_order_of_signals_is_for_ever() -> None:
    # Tables written by an earlier version hold places in this enumeration: append only.
    assert [signal.value for signal in Signal][:4] == [
        "",
        "EvictionByEvictionAPI",
        "DeletionByTaintManager",
        "PreemptionByScheduler",
    ]
    last = ["AzurePreempt", "NodeSilent", "NodeRebooted", "ContainerKilled", "TemplateForbidden"]
    assert [signal.value for signal in Signal][-len(last) :] == last


def test_the_order_of_notices_is_for_ever() -> None:
    assert [kind.value for kind in NoticeKind][:4] == ["", "GcePreempted", "Ec2SpotInterruption", "AzurePreempt"]


@pytest.mark.parametrize("kind", [kind for kind in NoticeKind if kind.is_hard])
def test_a_hard_notice_is_a_signal_of_the_same_name(kind: NoticeKind) -> None:
    assert Signal(kind.value).is_reclaim
