from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy
import numpy.random
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._random_state import RandomStateInvalid, captured_state, restore_state


class ByteTensor(list[int]):
    def tolist(self) -> list[int]:
        return list(self)


class StandInTorch(ModuleType):
    """Stands in for torch, far too large a package for a test: the functions used, as torch's documentation has them.

    That states are ByteTensors, what `torch.tensor(..., dtype=torch.uint8)` makes, and that a device's is set by its
    number, is taken from there; it is not shown here.
    """

    uint8 = "uint8"

    def __init__(self, *, devices: int, initialized: bool = True) -> None:
        super().__init__("torch")
        self.cpu = [1, 2, 255]
        self.devices = [[device, 7, 0] for device in range(devices)]
        self.cuda = SimpleNamespace(
            is_initialized=lambda: initialized,
            device_count=lambda: len(self.devices),
            get_rng_state_all=self.get_rng_state_all,
            set_rng_state=self.set_device,
        )
        self.started = initialized

    def tensor(self, values: list[int], *, dtype: str) -> ByteTensor:
        assert dtype == self.uint8
        return ByteTensor(values)

    def get_rng_state(self) -> ByteTensor:
        return ByteTensor(self.cpu)

    def set_rng_state(self, state: ByteTensor) -> None:
        if len(state) != len(self.cpu):
            raise RuntimeError("RNG state is wrong size")
        self.cpu = state.tolist()

    def get_rng_state_all(self) -> list[ByteTensor]:
        self.started = True
        return [ByteTensor(state) for state in self.devices]

    def set_device(self, state: ByteTensor, device: int) -> None:
        self.devices[device] = state.tolist()


@pytest.fixture(autouse=True)
def states_put_back() -> Iterator[None]:
    before, of_numpy = random.getstate(), numpy.random.get_state(legacy=False)
    yield
    random.setstate(before)
    numpy.random.set_state(of_numpy)


def torch_of(monkeypatch: pytest.MonkeyPatch, **given: Any) -> StandInTorch:
    torch = StandInTorch(**given)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def drawn() -> list[Any]:
    # The normal ones keep a second number for the next call, which is part of the state.
    return [random.random(), random.gauss(0, 1), numpy.random.random(), numpy.random.standard_normal(3).tolist()]


@given(seed=st.integers(0, 2**32 - 1), before=st.integers(0, 3))
def test_what_is_drawn_after_restoring_is_what_was_drawn_after_capturing(seed: int, before: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed)
    for _ in range(before):
        drawn()
    random.gauss(0, 1)
    numpy.random.standard_normal()
    state = captured_state()
    expected = [drawn() for _ in range(300)][-1]  # past the 624 words, so that all of them count
    random.seed(0)
    numpy.random.seed(0)
    restore_state(state)
    assert captured_state() == state
    assert [drawn() for _ in range(300)][-1] == expected


def test_it_holds_in_another_process() -> None:
    program = (
        "import sys, random\n"
        "from resumable_sweep._random_state import restore_state\n"
        "restore_state(sys.stdin.buffer.read())\n"
        "import numpy; print(random.random(), float(numpy.random.random()))\n"
    )
    out = subprocess.run([sys.executable, "-c", program], input=captured_state(), check=True, capture_output=True)
    assert out.stdout.decode().split() == [str(random.random()), str(float(numpy.random.random()))]


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_any_global_bit_generator_of_numpys_is_kept(name: str) -> None:
    before = numpy.random.get_bit_generator()
    numpy.random.set_bit_generator(getattr(numpy.random, name)(5))
    try:
        numpy.random.random(3)
        state = captured_state()
        expected = numpy.random.random(5).tolist()
        restore_state(state)
        assert numpy.random.random(5).tolist() == expected
    finally:
        numpy.random.set_bit_generator(before)
    if name != "MT19937":
        with pytest.raises(RandomStateInvalid, match=f"of a {name}, the global bit generator is a MT19937: call numpy"):
            restore_state(state)


def test_nothing_is_imported_for_it() -> None:
    program = (
        "import sys\n"
        "from resumable_sweep._random_state import captured_state\n"
        "print(captured_state().decode()); print('numpy' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    state, imported = out.splitlines()
    assert json.loads(state).keys() == {"schema_version", "random"}
    assert imported == "False"


def test_torchs_states_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = torch_of(monkeypatch, devices=2)
    state = captured_state()
    torch.cpu, torch.devices = [0, 0, 0], [[0], [0]]
    restore_state(state)
    assert torch.cpu == [1, 2, 255]
    assert torch.devices == [[0, 7, 0], [1, 7, 0]]


def test_cuda_is_not_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = torch_of(monkeypatch, devices=2, initialized=False)
    assert json.loads(captured_state())["torch"]["cuda"] == []
    assert not torch.started


@pytest.mark.filterwarnings("default")
def test_missing_devices_are_told_of_and_the_others_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_of(monkeypatch, devices=2)
    state = captured_state()
    torch = torch_of(monkeypatch, devices=1)
    torch.devices = [[9]]
    with pytest.warns(RuntimeWarning, match="those of 2 CUDA devices, here are 1"):
        restore_state(state)
    assert torch.devices == [[0, 7, 0]]


def test_a_package_that_is_missing_now_is_named_and_the_others_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_of(monkeypatch, devices=0)
    state = captured_state()
    expected = drawn()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.warns(RuntimeWarning, match="one of torch, which cannot be imported here"):
        restore_state(state)
    assert drawn() == expected


def test_a_state_that_a_package_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = torch_of(monkeypatch, devices=0)
    state = captured_state()
    torch.cpu = [0]
    with pytest.raises(RandomStateInvalid, match="torch does not take its saved random state: RNG state is wrong size"):
        restore_state(state)


def changed(**parts: Any) -> bytes:
    return json.dumps({**json.loads(captured_state()), **parts}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"", "no saved random state"),
        (lambda: b"\xff", "no saved random state"),
        (lambda: b"[]", "has no schema_version"),
        (lambda: b'{"schema_version": 1}', "no state of random"),
        (lambda: changed(schema_version="1"), "schema_version '1': it must be a whole number"),
        (lambda: changed(schema_version=2), "schema version 2, this reader knows 1 at most: install a newer"),
        (lambda: changed(random={}), "state of random is damaged"),
        (lambda: changed(random={"words": "AAAA", "gauss_next": None}), "state of random is damaged"),
        (lambda: changed(random={"words": "!", "gauss_next": None}), "not base64"),
        (lambda: changed(numpy={}), "numpy does not take"),
        (lambda: changed(numpy=[1]), "numpy does not take"),
        (lambda: changed(numpy={"bit_generator": "MT19937", "state": {"key": "x"}}), "numpy does not take"),
    ],
)
def test_what_is_no_state_is_refused(data: Any, message: str) -> None:
    numpy.random.seed(1)
    numpy.random.standard_normal()  # of two drawn at once, the second one is kept for the next time
    before = captured_state()
    with pytest.raises(RandomStateInvalid, match=message):
        restore_state(data())
    assert captured_state() == before
