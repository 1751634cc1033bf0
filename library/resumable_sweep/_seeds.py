"""Seeds for items: each has its own, whatever the order or the number of items, and the same one in every attempt."""

from __future__ import annotations

import hashlib
import importlib
import operator
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from random import Random
from typing import Any, Literal

from resumable_sweep.contract.canonical import identity

_POOL_WORDS = 4
_MASK = 0xFFFFFFFF
# The constants of numpy's SeedSequence (numpy/random/bit_generator.pyx), which are those of M. E. O'Neill's
# randutils seed_seq_fe; its documentation promises that what they give never changes.
_INIT_A, _MULTIPLIER_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULTIPLIER_B = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = 0xCA01F9DD, 0x4973F715
_RANDOM_BITS = 256
_SWEEP_SEED_BYTES = 16


class SeedSequence:
    """Well mixed words from an entropy, bit by bit those of `numpy.random.SeedSequence`, with or without numpy.

    Parameters
    ----------
    entropy:
        A whole number >= 0 of any size, or a sequence of them.
    spawn_key:
        What tells apart the sequences of one entropy: whole numbers >= 0.

    Raises
    ------
    TypeError, ValueError
        Where one of them is not a whole number, or is negative.
    """

    def __init__(self, entropy: int | Sequence[int], *, spawn_key: Sequence[int] = ()) -> None:
        self.entropy: int | tuple[int, ...]
        if isinstance(entropy, Iterable):
            self.entropy = numbers = _all_whole(entropy, "entropy")
        else:
            self.entropy = _whole(entropy, "entropy")
            numbers = (self.entropy,)
        self.spawn_key = _all_whole(spawn_key, "spawn_key")
        self.n_children_spawned = 0
        self._pool = _mixed(_words_of(numbers), _words_of(self.spawn_key))

    def __repr__(self) -> str:
        return f"SeedSequence({self.entropy!r}, spawn_key={self.spawn_key!r})"

    def generate_state(self, n_words: int, dtype: Literal["uint32", "uint64"] = "uint32") -> list[int]:
        """Return the first `n_words` words of 32 or 64 bits; they do not depend on what was asked for before.

        Raises
        ------
        ValueError
            Where `dtype` is another one.
        """
        if dtype == "uint32":
            return list(islice(self._words(), n_words))
        if dtype == "uint64":
            halves = list(islice(self._words(), 2 * n_words))
            return [low | high << 32 for low, high in zip(halves[::2], halves[1::2], strict=True)]
        raise ValueError(f"dtype is {dtype!r}: it must be 'uint32' or 'uint64'")

    def spawn(self, n_children: int) -> list[SeedSequence]:
        """Return `n_children` further sequences, independent of this one and of all that it spawned before."""
        start = self.n_children_spawned
        self.n_children_spawned += n_children
        return [
            SeedSequence(self.entropy, spawn_key=(*self.spawn_key, number))
            for number in range(start, self.n_children_spawned)
        ]

    def integer(self, bits: int = 64) -> int:
        """Return a whole number of `bits` bits, as `torch.manual_seed` and the like take one.

        Raises
        ------
        ValueError
            Where `bits` is below 1.
        """
        if bits < 1:
            raise ValueError(f"bits is {bits!r}: it must be 1 or more")
        words = self.generate_state(-(-bits // 32))
        number = sum(word << 32 * place for place, word in enumerate(words))
        return number & ((1 << bits) - 1)

    def random(self) -> Random:
        """Return a generator of the standard library at its start."""
        return Random(self.integer(_RANDOM_BITS))

    def numpy(self) -> Any:
        """Return a `numpy.random.Generator` at its start: a PCG64, also when numpy will prefer another by default.

        Raises
        ------
        ImportError
            Where numpy is not installed.
        """
        random = importlib.import_module("numpy.random")
        return random.Generator(random.PCG64(random.SeedSequence(self.entropy, spawn_key=self.spawn_key)))

    def _words(self) -> Iterator[int]:
        constant = _INIT_B
        for word in cycle(self._pool):
            value = word ^ constant
            constant = constant * _MULTIPLIER_B & _MASK
            value = value * constant & _MASK
            yield value ^ value >> 16


def seed_of(sweep_seed: int, key: Any) -> SeedSequence:
    """Return the seed of the item `key` in the sweep seeded with `sweep_seed`.

    It is spawned with the SHA-256 of the key's identity, eight words of 32 bits, little-endian: so the seed depends on
    nothing but the two, and 1, "1" and true have different ones.
    """
    digest = hashlib.sha256(identity(key).encode()).digest()
    return SeedSequence(sweep_seed, spawn_key=struct.unpack("<8I", digest))


def new_sweep_seed(random_bytes: Callable[[int], bytes] = os.urandom) -> int:
    """Return a seed of 128 bits for a sweep that was given none."""
    return int.from_bytes(random_bytes(_SWEEP_SEED_BYTES), "little")


def _whole(number: Any, what: str) -> int:
    # True would silently be 1; numpy's whole numbers are as good as Python's.
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"{what} holds {number!r:.200}: it must be a whole number")
    if number < 0:
        raise ValueError(f"{what} holds {number}: it must be 0 or more")
    return operator.index(number)


def _all_whole(numbers: Iterable[Any], what: str) -> tuple[int, ...]:
    return tuple(_whole(number, what) for number in numbers)


def _words_of(numbers: Sequence[int]) -> list[int]:
    """Return the 32-bit words of `numbers`, the lowest of each first; 0 has one."""
    words = []
    for number in numbers:
        words.append(number & _MASK)
        while number := number >> 32:
            words.append(number & _MASK)
    return words


def _mixed(entropy: list[int], spawn_key: list[int]) -> list[int]:
    """Return the pool in which every word of the input has touched every word."""
    if spawn_key:
        # Zeros, or a short entropy with a spawn key would equal a longer entropy without one.
        entropy = entropy + [0] * (_POOL_WORDS - len(entropy))
    words = entropy + spawn_key
    words += [0] * (_POOL_WORDS - len(words))
    constant = _INIT_A

    def scrambled(value: int) -> int:
        nonlocal constant
        value ^= constant
        constant = constant * _MULTIPLIER_A & _MASK
        value = value * constant & _MASK
        return value ^ value >> 16

    def joined(left: int, right: int) -> int:
        value = (_MIX_LEFT * left - _MIX_RIGHT * right) & _MASK
        return value ^ value >> 16

    pool = [scrambled(word) for word in words[:_POOL_WORDS]]
    for source in range(_POOL_WORDS):
        for target in range(_POOL_WORDS):
            if source != target:
                pool[target] = joined(pool[target], scrambled(pool[source]))
    for word in words[_POOL_WORDS:]:
        for target in range(_POOL_WORDS):
            pool[target] = joined(pool[target], scrambled(word))
    return pool
