"""Which item comes next, to whom, and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from resumable_sweep import _handing_out
from resumable_sweep._handing_out import HandingOut
from resumable_sweep._items import ItemSource
from resumable_sweep._ledger import Ledger, State


class Desk:
    """A HandingOut, and what it told of its doings."""

    def __init__(self, values: Iterable[Any], *, max_attempts: int = 2) -> None:
        self.ledger = Ledger()
        self.began: list[tuple[int, float]] = []
        self.error: BaseException | None = None
        source = ItemSource(values, key=None, shard=0, shards=1)
        source.pull(self.ledger, None if source.is_sized else 0)
        self.desk = HandingOut(
            self.ledger,
            source,
            max_attempts=max_attempts,
            clock=lambda: float(len(self.began)),
            before=self.before,
            started=self.started,
        )

    def before(self) -> None:
        if self.error is not None:
            raise self.error

    def started(self, place: int, at: float) -> None:
        if self.error is not None:
            raise self.error
        self.began.append((place, at))

    def end(self, state: State, value: Any) -> None:
        place = self.desk.place_of(value)
        assert place is not None
        self.ledger.note_one(state, self.ledger.names[place], 10, 1)
        self.desk.ended(place)


def test_items_come_in_order_and_each_once() -> None:
    desk = Desk("abcd")
    first = desk.desk.a_pass()
    second = threading.Thread(target=lambda: others.append(next(desk.desk.a_pass())))
    others: list[str] = []
    assert next(first) == "a"
    second.start()
    second.join()
    assert others == ["b"]
    assert list(first) == ["c", "d"]
    assert desk.began == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]
    assert desk.desk.mine() == [0, 2, 3]


@pytest.mark.parametrize(
    ("states", "pending"),
    [
        ([State.DONE], "bc"),
        ([State.SKIPPED], "bc"),
        ([State.IN_PROGRESS], "abc"),
        ([State.FAILED], "abc"),
        ([State.FAILED, State.FAILED], "bc"),
        ([State.FAILED, State.FAILED, State.DONE], "bc"),
        ([State.FAILED, State.IN_PROGRESS], "abc"),
        ([State.FAILED, State.FAILED, State.IN_PROGRESS], "abc"),
    ],
)
def test_what_is_settled_or_has_failed_too_often_is_passed_over(states: list[State], pending: str) -> None:
    desk = Desk("abc")
    for state in states:
        desk.ledger.note_one(state, desk.ledger.names[0], 5, 1)
    assert "".join(desk.desk.a_pass()) == pending


def test_what_failed_comes_again_in_the_next_pass_only() -> None:
    desk = Desk("ab")
    tries = []
    for _ in range(4):
        for item in desk.desk.a_pass():
            tries.append(item)
            desk.end(State.FAILED if item == "a" else State.DONE, item)
    assert tries == ["a", "b", "a"]


def test_an_item_whose_beginning_could_not_be_noted_is_not_lost() -> None:
    desk = Desk("ab")
    one_pass = desk.desk.a_pass()
    desk.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        next(one_pass)
    desk.error = None
    assert desk.desk.mine() == []
    assert list(one_pass) == ["a", "b"]


def test_an_item_that_nobody_got_goes_to_another_thread() -> None:
    desk = Desk("ab")
    place = desk.desk.next_after

    def refused() -> None:
        with pytest.raises(OSError, match="full"):
            place(-1)

    full = OSError("full")
    starting = desk.started
    desk.desk._started = lambda place, at: (_ for _ in ()).throw(full)  # type: ignore[assignment]
    thread = threading.Thread(target=refused)
    thread.start()
    thread.join()
    desk.desk._started = starting
    assert place(-1) == 0


def test_who_stops_gets_no_item_and_no_end() -> None:
    desk = Desk("")
    desk.error = SystemExit(143)
    with pytest.raises(SystemExit):
        next(desk.desk.a_pass())


def test_items_are_taken_from_a_generator_as_they_are_asked_for() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    desk = Desk(items())
    one_pass = desk.desk.a_pass()
    assert taken == []
    assert next(one_pass) == 0
    assert taken == [0]
    assert not desk.desk.is_exhausted
    assert list(one_pass) == [1, 2]
    assert desk.desk.is_exhausted
    desk.desk.extend([3])
    assert list(one_pass) == [3]


def test_many_threads_get_every_item_once_while_items_are_added() -> None:
    desk = Desk(iter(range(300)))
    one_pass, got, books = desk.desk.a_pass(), [], threading.Lock()
    start = threading.Barrier(5)

    def work() -> None:
        start.wait()
        for item in one_pass:
            with books:
                got.append(item)
            desk.end(State.DONE, item)

    def add() -> None:
        start.wait()
        for number in range(300, 400):
            desk.desk.extend([number])
            desk.desk.a_pass()

    threads = [threading.Thread(target=work) for _ in range(4)] + [threading.Thread(target=add)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got.extend(one_pass)
    assert sorted(got) == list(range(400))
    assert desk.ledger.count(State.DONE) + desk.ledger.count(State.MISSING) == 400


def test_what_is_at_work_is_known_by_its_object_however_many_others_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_handing_out, "_REMEMBERED", 3)
    values = [{"x": number} for number in range(50)]
    desk = Desk(values)
    one_pass = desk.desk.a_pass()
    slow = [next(one_pass) for _ in range(5)]
    for item in one_pass:
        desk.end(State.DONE, item)
    assert [desk.desk.place_of(item) for item in slow] == [0, 1, 2, 3, 4]
    assert [desk.desk.place_of(item) is not None for item in values[-3:]] == [True] * 3
    assert desk.desk.place_of(values[10]) is None
    assert desk.desk.place_of({"x": 1}) is None
    assert desk.desk.started_at(0) == 0.0
    assert desk.desk.started_at(10) is None
