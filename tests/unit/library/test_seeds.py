from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._seeds import SeedSequence, new_sweep_seed, seed_of

NUMBERS = st.integers(0, 2**32 + 1) | st.integers(0, 2**300)
ENTROPIES = NUMBERS | st.lists(NUMBERS, max_size=6)


@given(entropy=ENTROPIES, spawn_key=st.lists(NUMBERS, max_size=10), words=st.integers(0, 11))
def test_it_is_numpys_bit_by_bit(entropy: Any, spawn_key: list[int], words: int) -> None:
    ours, theirs = SeedSequence(entropy, spawn_key=spawn_key), numpy.random.SeedSequence(entropy, spawn_key=spawn_key)
    assert ours.generate_state(words) == theirs.generate_state(words).tolist()
    assert ours.generate_state(words, "uint64") == theirs.generate_state(words, numpy.uint64).tolist()


@given(entropy=ENTROPIES, spawn_key=st.lists(NUMBERS, max_size=3))
def test_it_spawns_what_numpys_does(entropy: Any, spawn_key: list[int]) -> None:
    ours, theirs = SeedSequence(entropy, spawn_key=spawn_key), numpy.random.SeedSequence(entropy, spawn_key=spawn_key)
    for number in (2, 0, 1):
        spawned = ours.spawn(number)
        assert [child.spawn_key for child in spawned] == [child.spawn_key for child in theirs.spawn(number)]
        assert ours.n_children_spawned == theirs.n_children_spawned
    assert spawned[0].spawn(1)[0].generate_state(4) == (
        numpy.random.SeedSequence(entropy, spawn_key=(*spawn_key, 2, 0)).generate_state(4).tolist()
    )


# What numpy 2.4.6 gives: holds the words fast also against a numpy that changed its mind.
@pytest.mark.parametrize(
    ("entropy", "spawn_key", "words"),
    [
        (0, (), [0xB0F478BE, 0xDB2CD7E7, 0x2C71BA49, 0xABF4641A]),
        (1, (), [0x6D6791FF, 0x672D8EE5, 0x4EB1072C, 0x8AE19CA1]),
        (2**128 + 5, (1, 2), [0x8BC69971, 0x1248DE3B, 0xF10F68F6, 0xD55EAE97]),
        ([1, 2, 3], (), [0xE3D1FC80, 0xB45F843F, 0x203807C7, 0x42C16E36]),
        ([], (), [0xB0F478BE, 0xDB2CD7E7, 0x2C71BA49, 0xABF4641A]),
        (7, (2**40,), [0xBAC2978D, 0x3B3FC107, 0xC54D3C98, 0x2F9C65B6]),
    ],
)
def test_its_words_never_change(entropy: Any, spawn_key: tuple[int, ...], words: list[int]) -> None:
    sequence = SeedSequence(entropy, spawn_key=spawn_key)
    assert sequence.generate_state(4) == words
    assert sequence.generate_state(2, "uint64") == [words[0] | words[1] << 32, words[2] | words[3] << 32]


def test_the_seeds_of_items_never_change() -> None:
    """A sweep goes on with the seeds it was started with, whatever version it is resumed by."""
    assert seed_of(0, "a").integer() == 0xA0F9CAD0260E2FA3
    assert seed_of(12345, 1).integer() == 0x442975E8A93727C1
    assert seed_of(12345, {"x": 1}).random().random() == 0.4196045124061992
    assert seed_of(12345, 1).numpy().random() == 0.12248980908681861


def test_numpy_is_not_needed() -> None:
    program = (
        "import sys; sys.modules['numpy'] = None\n"
        "from resumable_sweep._seeds import seed_of\n"
        "print(hex(seed_of(0, 'a').integer()), seed_of(0, 'a').random().random())\n"
        "try: seed_of(0, 'a').numpy()\n"
        "except ImportError: print('refused')\n"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert out == ["0xa0f9cad0260e2fa3", str(seed_of(0, "a").random().random()), "refused"]


def test_an_items_seed_depends_on_the_sweeps_seed_and_on_its_typed_key_alone() -> None:
    keys: list[Any] = [1, "1", True, 1.0, None, [1], {"x": 1, "y": 2}]
    seeds = [seed_of(number, key).integer(128) for number in (0, 1, 2**128 - 1) for key in keys]
    assert len(set(seeds)) == len(seeds)
    assert seed_of(1, {"y": 2, "x": 1}).integer(128) == seed_of(1, keys[-1]).integer(128)


def test_its_generators_are_those_of_its_seed() -> None:
    sequence = seed_of(3, "k")
    theirs = numpy.random.SeedSequence(3, spawn_key=sequence.spawn_key)
    assert sequence.numpy().integers(2**63, size=5).tolist() == (
        numpy.random.Generator(numpy.random.PCG64(theirs)).integers(2**63, size=5).tolist()
    )
    assert sequence.random().getstate() == random.Random(sequence.integer(256)).getstate()
    assert sequence.random().random() == sequence.random().random()


@pytest.mark.parametrize("bits", [1, 31, 32, 33, 64, 100])
def test_an_integer_has_the_bits_that_were_asked_for(bits: int) -> None:
    numbers = [SeedSequence(entropy).integer(bits) for entropy in range(100)]
    assert max(numbers).bit_length() == bits


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SeedSequence(-1), ValueError, "entropy holds -1: it must be 0 or more"),
        (lambda: SeedSequence(True), TypeError, "entropy holds True: it must be a whole number"),
        (lambda: SeedSequence(1.5), TypeError, "entropy holds 1.5: it must be a whole number"),  # type: ignore[arg-type]
        (lambda: SeedSequence([1, "2"]), TypeError, "entropy holds '2'"),  # type: ignore[list-item]
        (lambda: SeedSequence(1, spawn_key=[-3]), ValueError, "spawn_key holds -3"),
        (lambda: SeedSequence(1).integer(0), ValueError, "bits is 0: it must be 1 or more"),
        (lambda: SeedSequence(1).generate_state(1, "int8"), ValueError, "dtype is 'int8'"),  # type: ignore[arg-type]
    ],
)
def test_what_it_cannot_take_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_whole_numbers_of_numpy_count_as_such() -> None:
    whole = SeedSequence(numpy.int64(5), spawn_key=numpy.arange(3))  # type: ignore[arg-type]
    assert whole.generate_state(4) == SeedSequence(5, spawn_key=(0, 1, 2)).generate_state(4)


def test_a_new_sweep_seed_is_128_random_bits() -> None:
    asked = []
    assert new_sweep_seed(lambda count: (asked.append(count), b"\x01" + b"\x00" * 14 + b"\x80")[1]) == 2**127 + 1
    assert asked == [16]
    assert new_sweep_seed() != new_sweep_seed()
