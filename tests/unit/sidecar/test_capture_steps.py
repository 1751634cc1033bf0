"""A capturer and a program take turns, call by call, in whatever order hypothesis thinks of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep_sidecar.capture.passing import TRIES
from unit.sidecar.captured_shard import Shard
from unit.sidecar.writing_programs import ALL, Program, Stamps

EXAMPLES = int(os.environ.get("CAPTURE_EXAMPLES", "8"))
"""Of each program; more of them find more."""
_CALLS = ("scandir", "open", "fstat", "lstat", "stat")


class Turns:
    """Lets a program do some steps before each of the capturer's calls, as many as a list says; then no more."""

    def __init__(self, program: Program, turns: list[int]) -> None:
        self._steps = program.steps()
        self._turns = turns
        self._busy = False

    def step(self, number: int) -> None:
        for _ in range(number):
            next(self._steps)

    def before_call(self) -> None:
        if self._busy or not self._turns:
            return
        self._busy = True
        try:
            self.step(self._turns.pop())
        finally:
            self._busy = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            for name in _CALLS:
                patched.setattr(os, name, self._calling(getattr(os, name)))
            yield

    def _calling(self, call: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            self.before_call()
            return call(*arguments, **options)

        return called


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    looks=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 3, 5, 8, 13, 150]),
            st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 5, 8]), max_size=60),
        ),
        max_size=5,
    )
)
def test_every_look_is_a_state_that_the_directory_had(
    kind: type[Program], looks: list[tuple[int, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shard = Shard(tmp_path_factory.mktemp("shard") / "snapshot", sleep=lambda seconds: None, **kind.options)
    program = kind(shard.root, Stamps())
    turns = Turns(program, [])
    for steps_before, during in looks:
        turns.step(steps_before)
        turns._turns = list(during)
        with turns.taken():
            look = shard.capturer.look()
        turns._turns = []
        assert look.refusal is None
        if not look.is_torn:
            shard.publish(look)
            program.check(shard.stored())
    shard.publish(shard.capturer.look(last=True))
    program.check(shard.stored())


def test_a_directory_that_never_holds_still_is_not_published(shard_with_turns: tuple[Shard, Turns]) -> None:
    shard, turns = shard_with_turns
    looks = []
    for _ in range(5):
        turns._turns = [2] * 2000
        with turns.taken():
            looks.append(shard.capturer.look())
    assert [look.is_torn for look in looks] == [True] * 5
    assert all(look.files == {} for look in looks)
    assert [look.unsettled is None for look in looks] == [True] * 4 + [False]
    problem = looks[-1].unsettled
    assert problem is not None
    assert problem.reason == "CheckpointUnstable"
    assert "changes faster than it can be read" in problem.message
    assert TRIES > 1
    turns._turns = []
    assert not shard.capturer.look().is_torn


@pytest.fixture
def shard_with_turns(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shard, Turns]:
    from unit.sidecar.writing_programs import Swapping

    shard = Shard(tmp_path_factory.mktemp("shard") / "snapshot")
    turns = Turns(Swapping(shard.root, Stamps()), [])
    turns.step(20)
    return shard, turns
