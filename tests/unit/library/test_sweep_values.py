"""Results that are more than JSON, through a whole sweep and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep import ResultInvalid, ResumableSweep
from resumable_sweep.contract.log_format import entries_of


@dataclass(frozen=True)
class Fit:
    slope: float
    residuals: tuple[float, ...]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


RESULTS: dict[str, Any] = {
    "dataclass": Fit(1.5, (0.1, float("inf"))),
    "bytes": b"\x00\xff" * 10,
    "large bytes": bytes(range(256)) * 400,
    "array": numpy.linspace(0, 1, 5),
    "large array": numpy.arange(640_000.0).reshape(800, 800),
    "scalar": numpy.float32(0.1),
    "mixture": {"weights": [numpy.ones((2, 3), dtype="int8")], "note": ("é", None), 3: True},
    "large text": "x" * 2_000_000,
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_comes_back_as_record_returned_it(path: Path, name: str) -> None:
    with ResumableSweep([name], checkpoint_path=path) as sweep:
        live = sweep.record(name, RESULTS[name])
        numpy.testing.assert_equal(next(sweep.results()), (name, live))
    assert path.stat().st_size < 200_000
    with ResumableSweep([name], checkpoint_path=path) as sweep:
        (replayed,) = sweep.completed
    numpy.testing.assert_equal(replayed, live)
    assert type(replayed) is type(live)


def test_encode_and_decode_are_each_others_inverse_also_live(path: Path) -> None:
    def encode(value: Any) -> Any:
        assert isinstance(value, complex | Exception)
        return {"re": value.real, "im": value.imag}

    def decode(value: Any) -> Any:
        return complex(value["re"], value["im"])

    for _ in range(2):
        with ResumableSweep(["z"], checkpoint_path=path, encode=encode, decode=decode) as sweep:
            for item in sweep.pending:
                assert sweep.record(item, 1 + 2j) == 1 + 2j
            assert list(sweep.results()) == [("z", 1 + 2j)]
    assert sweep is not None
    (entry,) = [entry for entry in entries_of(path.read_bytes()) if entry["kind"] == "done"]
    assert entry["result"] == {"re": 1.0, "im": 2.0}


def test_a_dataclass_is_kept_by_its_fields(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path, decode=lambda value: Fit(**value)) as sweep:
        fit = sweep.record(1, RESULTS["dataclass"])
    assert asdict(fit) == {"slope": 1.5, "residuals": [0.1, float("inf")]}


@pytest.mark.parametrize("result", [object(), {1, 2}, "\ud800", {"$sweep.file": 1}, {1: 0, "1": 0}], ids=repr)
def test_what_cannot_be_kept_is_refused_and_its_item_stays_at_work(path: Path, result: Any) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        (item,) = sweep.pending
        before = path.read_bytes()
        with pytest.raises(ResultInvalid, match='the result of item "1" cannot be kept'):
            sweep.record(item, result)
        assert path.read_bytes() == before
        assert sweep.find_in_progress() == [1]
        sweep.record(item, "something else")


@pytest.mark.parametrize("shards", [1, 3])
def test_an_item_has_the_same_seed_in_every_shard_and_run(path: Path, shards: int) -> None:
    expected = {}
    with ResumableSweep(range(6), checkpoint_path=path, seed=11) as sweep:
        expected = {item: sweep.seed_of(item).integer() for item in range(6)}
    assert len(set(expected.values())) == 6
    for shard in range(shards):
        for _ in range(2):
            log = path.with_name(f"{shard}-of-{shards}")
            with ResumableSweep(range(6), checkpoint_path=log, shard=(shard, shards), seed=11) as sweep:
                for item in sweep.pending:
                    assert sweep.seed_of(item).integer() == expected[item]
