"""The books of a sweep against a plain dictionary."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep import ItemsInvalid
from resumable_sweep._ledger import Ledger, State

NAMES = [f'"{letter}"' for letter in "abcdef"]
NOTES = st.tuples(st.sampled_from([State.IN_PROGRESS, State.FAILED, State.SKIPPED, State.DONE]), st.sampled_from(NAMES))
STEPS = st.one_of(NOTES, st.sampled_from(NAMES), st.lists(NOTES, max_size=4), st.just("in order"), st.just(None))


@given(st.lists(STEPS, max_size=30))
def test_notes_and_items_in_any_order_come_to_the_same(steps: list[Any]) -> None:
    ledger, items, model, at = Ledger(), [], {}, 0

    def expect(state: State, name: str, where: int) -> None:
        known = model.setdefault(name, {"state": State.MISSING, "where": -1, "failures": 0})
        known["failures"] += state is State.FAILED
        if known["state"] is not State.DONE or state is State.DONE:
            known["state"] = state
            known["where"] = known["where"] if state is State.IN_PROGRESS else where

    for step in steps:
        at += 10
        if step is None:
            ledger.forget()
            model.clear()
        elif step == "in order":
            ledger.note(State.DONE, items[:3], range(at, at + len(items[:3])), [1] * len(items[:3]))
            for number, name in enumerate(items[:3]):
                expect(State.DONE, name, at + number)
        elif isinstance(step, str):
            if step in items:
                with pytest.raises(ItemsInvalid, match="the same key"):
                    ledger.add(step, step)
            else:
                assert ledger.add(step, step) == len(items)
                items.append(step)
        elif isinstance(step, tuple):
            ledger.note_one(*step, at, 1)
            expect(*step, at)
        else:
            for state, name in step:
                ledger.note(state, [name], [at], [1])
                expect(state, name, at)
    missing = {"state": State.MISSING, "where": -1, "failures": 0}
    for place, name in enumerate(items):
        known = model.get(name, missing)
        assert (ledger.state(place), ledger.failures(place)) == (known["state"], known["failures"])
        assert ledger.where(place)[0] == known["where"]
        assert ledger.is_settled(place) is (known["state"] in (State.SKIPPED, State.DONE))
        assert (ledger.place(name), ledger.key(place)) == (place, name.strip('"'))
    for state in State:
        places = [place for place, name in enumerate(items) if model.get(name, missing)["state"] is state]
        assert (list(ledger.places(state)), ledger.count(state)) == (places, len(places))
    assert ledger.settled == ledger.count(State.DONE) + ledger.count(State.SKIPPED)
    assert {name: (one.state, one.offset, one.failures) for name, one in ledger.strays.items()} == {
        name: (one["state"], one["where"], one["failures"]) for name, one in model.items() if name not in items
    }


def test_all_at_once_is_one_by_one() -> None:
    for known in ([], NAMES[:2]):
        for strays in ([], NAMES[2:4]):
            for added in ([], NAMES[2:]):
                ledgers = Ledger(), Ledger()
                for ledger in ledgers:
                    for name in known:
                        ledger.add(name, name)
                    for name in strays:
                        ledger.note_one(State.DONE, name, 5, 1)
                for name in added:
                    ledgers[0].add(name, name)
                ledgers[1].add_all(added, added)
                states = [[ledger.state(place) for place in range(len(ledger))] for ledger in ledgers]
                assert states[0] == states[1]
                assert (ledgers[0].names, ledgers[0].strays) == (ledgers[1].names, ledgers[1].strays)
    with pytest.raises(ItemsInvalid, match="the same key"):
        Ledger().add_all(["1", "1"], [1, 1])


def test_what_was_taken_back_is_missing_and_has_failed_no_less_often() -> None:
    ledger = Ledger()
    ledger.add('"a"', "a")
    for name in ('"a"', '"b"'):
        ledger.note_one(State.FAILED, name, 1, 1)
        ledger.note_one(State.DONE, name, 2, 1)
        ledger.take_back(name)
    ledger.add('"b"', "b")
    assert [(ledger.state(place), ledger.failures(place)) for place in (0, 1)] == [(State.MISSING, 1)] * 2
    assert [ledger.count(state) for state in State] == [2, 0, 0, 0, 0]


def test_threads_that_note_and_add_lose_no_count() -> None:
    ledger = Ledger()

    def work(first: int) -> None:
        for number in range(first, first + 500):
            place = ledger.add(str(number), number)
            for state in (State.IN_PROGRESS, State.FAILED, State.IN_PROGRESS, State.DONE):
                ledger.note_one(state, str(number), number, 1)
            assert ledger.where(place) == (number, 1)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ledger.count(State.DONE), ledger.settled, len(ledger)) == (2000, 2000, 2000)
    assert sorted(ledger.names, key=int) == [str(number) for number in range(2000)]
