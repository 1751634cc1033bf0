from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweep_sidecar.blobs import FRESH_S, LEAST_AGE_S, NAME_S, Blobs, Moment, name_word, node_word, now
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore

SHA = hashlib.sha256(b"content").hexdigest()
START = Moment(boot=10 * NAME_S, wall=1000 * NAME_S)


class Clocks:
    def __init__(self) -> None:
        self.moment = START

    def advance(self, *, boot: float, wall: float) -> None:
        self.moment = Moment(self.moment.boot + boot, self.moment.wall + wall)


def blobs(store: MemoryStore, clocks: Clocks, *, node: str = "node") -> Blobs:
    return Blobs(store, nonce=lambda: "n", moment=lambda: clocks.moment, node=node)


def test_what_a_machine_has_sent_a_short_time_ago_is_used_again() -> None:
    store, clocks = MemoryStore(), Clocks()
    first = blobs(store, clocks)
    segment = first.store(b"content")
    assert segment.blob == f"blobs/{SHA}.{name_word('node', START)}"
    clocks.advance(boot=NAME_S - 1, wall=NAME_S - 1)
    assert first.store(b"content") == segment
    assert first.writes == 1
    assert blobs(store, clocks).store(b"content") == segment
    assert len(store.objects) == 1


@pytest.mark.parametrize(
    ("boot", "wall"), [(NAME_S, NAME_S), (0, NAME_S), (NAME_S, 0), (1, -NAME_S), (1, 8 * 24 * 3600)]
)
def test_no_name_comes_back_once_either_clock_has_gone_on(boot: float, wall: float) -> None:
    store, clocks = MemoryStore(), Clocks()
    one = blobs(store, clocks)
    before = one.store(b"content")
    clocks.advance(boot=boot, wall=wall)
    assert one.store(b"content") != before
    assert len(store.objects) == 2


def test_what_is_on_its_way_while_names_change_is_found_by_its_old_name_no_more() -> None:
    store, clocks = MemoryStore(), Clocks()
    one = blobs(store, clocks)
    on_its_way, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        on_its_way.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor() as pool:
        store.fault = lambda call, key: hang
        slow = pool.submit(one.store, b"content")
        assert on_its_way.wait(30)
        store.fault = lambda call, key: None
        clocks.advance(boot=NAME_S, wall=NAME_S)
        one.store(b"other")
        go_on.set()
        before = slow.result()
    assert before.blob is not None
    assert one.is_fresh(before.blob)
    assert one.store(b"content").blob != before.blob


def test_machines_share_no_names() -> None:
    store, clocks = MemoryStore(), Clocks()
    assert blobs(store, clocks, node="a").store(b"content") != blobs(store, clocks, node="b").store(b"content")


@pytest.mark.parametrize(("boot", "wall"), [(FRESH_S, 0.0), (0.0, FRESH_S)])
def test_what_was_sent_long_ago_may_not_be_referred_to(boot: float, wall: float) -> None:
    clocks = Clocks()
    one = blobs(MemoryStore(), clocks)
    key = one.store(b"content").blob
    assert key is not None
    clocks.advance(boot=boot, wall=wall)
    assert one.is_fresh(key)
    clocks.advance(boot=1, wall=1)
    assert not one.is_fresh(key)
    again = one.store(b"content").blob
    assert again is not None
    assert again != key
    assert one.is_fresh(again)


def test_the_time_of_a_blob_counts_from_before_it_was_sent() -> None:
    store, clocks = MemoryStore(), Clocks()
    one = blobs(store, clocks)
    store.fault = lambda call, key: lambda: clocks.advance(boot=0, wall=FRESH_S + 1)
    key = one.store(b"content").blob
    assert key is not None
    assert not one.is_fresh(key)


def test_of_what_this_process_has_not_sent_nothing_is_known() -> None:
    one = blobs(MemoryStore(), Clocks())
    assert not one.is_fresh("blobs/x")
    key = one.store(b"content").blob
    one.published()
    assert key is not None
    assert not one.is_fresh(key)
    assert one.store(b"content").blob == key
    assert one.is_fresh(key)


def test_a_wrong_object_in_the_way_blocks_nobody_and_a_damaged_one_is_not_used() -> None:
    store, clocks = MemoryStore(), Clocks()
    key = f"blobs/{SHA}.{name_word('node', START)}"
    store.objects[key] = b"torn"
    assert blobs(store, clocks).store(b"content").blob == f"blobs/{SHA}.n"
    store.objects = {key: b"content"}
    one = blobs(store, clocks)
    one.damaged = {key}
    assert one.store(b"content").blob == f"blobs/{SHA}.n"


def test_a_name_of_its_own_that_is_taken_is_an_error_of_the_store() -> None:
    store, clocks = MemoryStore(), Clocks()
    for word in (name_word("node", START), "n"):
        store.objects[f"blobs/{SHA}.{word}"] = b"torn"
    with pytest.raises(Unreachable, match="although its name was never used"):
        blobs(store, clocks).store(b"content")


def test_a_lost_reply_costs_no_second_name() -> None:
    store, clocks = MemoryStore(), Clocks()
    one = blobs(store, clocks)
    store.fault = lambda call, key: "unanswered"
    with pytest.raises(Unreachable):
        one.store(b"content")
    store.fault = lambda call, key: None
    one.store(b"content")
    assert len(store.objects) == 1


def test_what_is_never_published_is_not_remembered_for_ever() -> None:
    """As where progress went backwards, and nothing is published until somebody has put that right."""
    clocks = Clocks()
    one = blobs(MemoryStore(), clocks)
    for number in range(100):
        one.store(b"%d" % number)
        clocks.advance(boot=NAME_S / 2, wall=NAME_S / 2)
    assert len(one._unpublished) <= (NAME_S + FRESH_S) / (NAME_S / 2) + 1


def test_the_times_leave_room_for_a_request_that_is_on_its_way() -> None:
    assert NAME_S + FRESH_S + 5 * 3600 < LEAST_AGE_S


def test_the_real_clocks_go_on_and_a_machine_has_one_word() -> None:
    earlier = now()
    assert now().since(earlier) >= 0
    assert node_word()
