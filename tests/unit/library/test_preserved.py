from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resumable_sweep._config import config_sha256
from resumable_sweep._preserved import (
    Preserved,
    PreservedInvalid,
    known_of,
    merged,
    parsed_preserved,
    preserved_of,
    preserved_path,
    read_preserved,
    write_preserved,
)
from resumable_sweep._script import script_at, script_sha256


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


WHOLE = Preserved(
    config={"lr": 0.1, "loss": float("inf"), "name": "größe"},
    config_sha256=config_sha256({"lr": 0.1, "loss": float("inf"), "name": "größe"}),
    script_path="/lab/train.py",
    script_sha256="ab" * 32,
    script_text="print('ä')",
    items_total=3,
    items_sha256="cd" * 32,
    seed=2**100,
)


@pytest.mark.parametrize("preserved", [WHOLE, Preserved()], ids=["all", "nothing"])
def test_what_is_written_is_read_back(log: Path, preserved: Preserved) -> None:
    assert read_preserved(log).preserved is None
    write_preserved(log, preserved)
    reading = read_preserved(log)
    assert (reading.preserved, reading.kept_as) == (preserved, None)
    assert [file.name for file in log.parent.iterdir()] == ["results.jsonl.sweep.json"]


def test_what_is_preserved_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("x = 1\n")
    found = preserved_of(
        config={"lr": 0.1, "betas": (0.9, 0.99)}, script=script_at(file), items_total=2, items_sha256="s", seed=1
    )
    assert found == Preserved(
        config={"lr": 0.1, "betas": [0.9, 0.99]},
        config_sha256=config_sha256({"lr": 0.1, "betas": [0.9, 0.99]}),
        script_path=str(file),
        script_sha256=script_sha256(file),
        script_text="x = 1",
        items_total=2,
        items_sha256="s",
        seed=1,
    )
    assert preserved_of() == Preserved()


def what_is_in(data: bytes) -> Preserved | None:
    try:
        return parsed_preserved(data)
    except PreservedInvalid:
        raise
    except ValueError:
        return None


def test_a_flipped_bit_anywhere_is_harmless_or_noticed(log: Path) -> None:
    data = WHOLE.to_json().encode()
    for place in range(len(data)):
        for bit in (0, 5):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            assert what_is_in(bytes(damaged)) in (WHOLE, None)


def test_a_damaged_file_is_kept_aside_and_what_the_log_says_takes_its_place(log: Path) -> None:
    write_preserved(log, WHOLE)
    whole = preserved_path(log).read_bytes()
    for number, damaged in enumerate((whole[:-9], b"", b"[]", whole.replace(b"0.1", b"0.2")), start=1):
        preserved_path(log).write_bytes(damaged)
        reading = read_preserved(log)
        assert reading.preserved is None
        assert reading.reason
        assert reading.kept_as == log.with_name(f"results.jsonl.sweep.json.corrupt-{number}")
        assert reading.kept_as.read_bytes() == damaged
        assert not preserved_path(log).exists()
    header = {"config_sha256": WHOLE.config_sha256, "script_sha256": "ab" * 32, "items_sha256": None, "seed": 7}
    assert known_of(header, None) == Preserved(config_sha256=WHOLE.config_sha256, script_sha256="ab" * 32, seed=7)


def test_a_newer_file_is_refused_and_left_alone(log: Path) -> None:
    fields = {"schema_version": 2, "anything": 1}
    text = json.dumps({**fields, "sha256": config_sha256(fields)})
    preserved_path(log).write_text(text)
    with pytest.raises(PreservedInvalid, match=r"sweep\.json has schema version 2, .*install a newer resumable-sweep"):
        read_preserved(log)
    assert preserved_path(log).read_text() == text


def test_details_count_only_where_the_log_says_the_same() -> None:
    header = {
        "config_sha256": WHOLE.config_sha256,
        "script_sha256": WHOLE.script_sha256,
        "items_sha256": WHOLE.items_sha256,
        "seed": WHOLE.seed,
    }
    assert known_of(header, WHOLE) == WHOLE
    other = known_of({**header, "config_sha256": "x", "script_sha256": None, "items_sha256": "y"}, WHOLE)
    assert other == Preserved(config_sha256="x", items_sha256="y", seed=WHOLE.seed)
    assert known_of({"schema_version": 1}, None) == Preserved()


def test_what_is_not_given_now_stays_as_it_was() -> None:
    assert merged(WHOLE, Preserved()) == WHOLE
    assert merged(Preserved(), WHOLE) == WHOLE
    now = Preserved(config={}, config_sha256="x", script_path="/s", script_sha256="y")
    assert merged(WHOLE, now) == replace(
        WHOLE, config={}, config_sha256="x", script_path="/s", script_sha256="y", script_text=None
    )
