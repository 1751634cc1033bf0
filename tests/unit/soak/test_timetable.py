from __future__ import annotations

import pytest

from soak.timetable import Trouble, troubles_at

CYCLE_S = 180
OF_THE_STORE = {Trouble.STORE_REFUSES, Trouble.STORE_SILENT, Trouble.STORE_RESETS}


def seconds_of(trouble: Trouble, *, cycle: int) -> list[int]:
    """The seconds of a cycle in whose middle it is there."""
    begin = cycle * CYCLE_S
    return [at for at in range(begin, begin + CYCLE_S) if trouble in troubles_at(at + 0.5, cycle_s=CYCLE_S)]


@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble not in OF_THE_STORE])
@pytest.mark.parametrize("cycle", [0, 1, 7])
def test_each_cycle_has_it_once_and_for_a_while(trouble: Trouble, cycle: int) -> None:
    seconds = seconds_of(trouble, cycle=cycle)
    assert len(seconds) >= 18
    assert seconds == list(range(seconds[0], seconds[-1] + 1))


def test_a_store_fails_half_a_minute_in_one_way_a_cycle_and_in_all_of_them() -> None:
    met = [{each for each in OF_THE_STORE if seconds_of(each, cycle=cycle)} for cycle in range(3)]
    assert [len(one) for one in met] == [1, 1, 1]
    assert set().union(*met) == OF_THE_STORE
    assert [len(seconds_of(each, cycle=cycle)) for cycle, (each,) in enumerate(met)] == [30, 30, 30]


def test_a_cycle_begins_and_ends_calm() -> None:
    for at in (*range(20), *range(CYCLE_S - 20, CYCLE_S)):
        assert not troubles_at(at, cycle_s=CYCLE_S)


def test_an_operator_is_away_also_while_the_store_fails() -> None:
    assert any(
        Trouble.OPERATOR_AWAY in found and found & OF_THE_STORE
        for found in (troubles_at(at, cycle_s=CYCLE_S) for at in range(CYCLE_S))
    )
