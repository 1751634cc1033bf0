from __future__ import annotations

from pathlib import Path

from resumable_sweep._leavings import remove_leavings

SHA256 = "0123456789abcdef" * 4
LEFT = [
    ".results.jsonl.tmp.17",
    ".results.jsonl.manifest.json.tmp.17",
    ".results.jsonl.sweep.json.tmp.17",
    ".results.jsonl.stats.json.tmp.17",
    ".results.jsonl.corrupt-2.tmp.17",
    ".results.jsonl.resume.tmp.17",
    ".results.jsonl.resume.tmp.17.manifest.json",
    f"results.jsonl.files/.{SHA256}.bin.tmp.17.18",
]
STAYS = [
    "results.jsonl",
    "results.jsonl.manifest.json",
    "results.jsonl.corrupt-2",
    f"results.jsonl.files/{SHA256}.bin",
    ".results.jsonl2.tmp.17",
    ".results.jsonl.other.tmp.17",
    ".more.results.jsonl.tmp.17",
    "results.jsonl.tmp.17",
]


def test_only_what_was_left_half_written_of_this_log_goes(tmp_path: Path) -> None:
    for name in (*LEFT, *STAYS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_leavings(tmp_path / "results.jsonl")
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == set(STAYS)


def test_where_nothing_is_nothing_happens(tmp_path: Path) -> None:
    remove_leavings(tmp_path / "results.jsonl")
    assert list(tmp_path.iterdir()) == []
