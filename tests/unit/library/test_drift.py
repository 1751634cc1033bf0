from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._drift import DriftInvalid, compare, items_sha256
from resumable_sweep._preserved import Preserved, known_of, preserved_of


def run_with(config: Any = None, script: str | None = None, path: str = "/lab/train.py", **given: Any) -> Preserved:
    found = preserved_of(config=config, **given)
    if script is None:
        return found
    return replace(found, script_path=path, script_sha256=str(hash(script)), script_text=script)


def test_the_same_and_what_nobody_knows_is_no_drift() -> None:
    whole = run_with({"lr": 1}, "a", items_sha256="x", seed=1)
    for before, now in ((whole, whole), (whole, Preserved()), (Preserved(), whole)):
        assert compare(before, now).changes == ()


def test_the_error_says_what_changed_and_the_mend() -> None:
    before = run_with({"optimizer": {"lr": 0.1}}, "import x\nlr = 1\nrun()", seed=1)
    now = run_with({"optimizer": {"lr": 0.01}}, "import x\nlr = 2\nrun()", seed=2)
    drift = compare(before, now)
    assert drift.warnings == ()
    text = str(drift.error(Path("/out/results.jsonl")))
    assert text == "\n".join(
        [
            "/out/results.jsonl holds results of another configuration and script and seed:",
            f"  configuration: sha256 {str(before.config_sha256)[:16]} -> {str(now.config_sha256)[:16]}",
            "    optimizer.lr: 0.1 -> 0.01",
            f"  script /lab/train.py: sha256 {str(before.script_sha256)[:16]} -> {str(now.script_sha256)[:16]}",
            "    @@ line 1 before, line 1 now @@",
            "     import x",
            "    -lr = 1",
            "    +lr = 2",
            "     run()",
            "  seed: 1 -> 2",
            "Go back to what it was; or, where the results so far are as good with the new configuration and script "
            'and seed, pass allow_drift=["config", "script", "seed"]; or start afresh with another checkpoint_path.',
        ]
    )


@pytest.mark.parametrize(
    ("allow", "refused"),
    [
        ((), ["config", "script"]),
        (["script"], ["config"]),
        ("config", ["script"]),
        ({"config", "script"}, []),
        (True, []),
        (False, ["config", "script"]),
    ],
)
def test_what_is_allowed_is_warned_of_and_only_that(allow: Any, refused: list[str]) -> None:
    drift = compare(run_with({"lr": 1}, "a"), run_with({"lr": 2}, "b"), allow=allow)
    assert [change.part for change in drift.refused] == refused
    assert [warning.split()[0].rstrip(":") for warning in drift.warnings] == [
        word for part, word in (("config", "configuration"), ("script", "script")) if part not in refused
    ]


@pytest.mark.parametrize("allow", [["scripts"], "Config", ["config", 3]])
def test_a_part_that_cannot_drift_is_refused_even_where_nothing_has(allow: Any) -> None:
    with pytest.raises(DriftInvalid, match="it may name config, script, seed, items"):
        compare(Preserved(), Preserved(), allow=allow)


def test_without_a_copy_it_says_so() -> None:
    before = known_of({"config_sha256": "x", "script_sha256": "y"}, None)
    drift = compare(before, run_with({"lr": 2}, "b"))
    assert [change.details for change in drift.refused] == [("no copy of the one before was kept",)] * 2
    drift = compare(run_with(script="a", path="/old.py"), replace(run_with(script="b"), script_text=None))
    assert drift.refused[0].details == (
        "before, it was /old.py",
        "the one of now is too long, or not UTF-8, to be compared",
    )


def test_a_script_that_moved_but_is_the_same_is_no_drift() -> None:
    assert not compare(run_with(script="a", path="/old.py"), run_with(script="a")).changes


def test_a_configuration_that_changed_all_over_is_cut() -> None:
    names = [f"p{number}" for number in range(100)]
    drift = compare(run_with(dict.fromkeys(names, 1)), run_with(dict.fromkeys(names, 2)))
    assert len(drift.refused[0].details) == 20
    assert drift.refused[0].details[-1] == "… and 81 more"


def test_new_items_are_only_more_work_but_lost_keys_are_refused_unless_allowed() -> None:
    before, now = Preserved(items_total=10, items_sha256="x"), Preserved(items_total=8, items_sha256="y")
    assert compare(before, now, recorded=5).changes == ()
    drift = compare(before, now, recorded=5, gone=['"b"', '"a"'])
    assert drift.refused[0].text.splitlines() == [
        "items: 2 of 5 recorded keys are no longer among them; there were 10 items, now 8. What was recorded stays in "
        "the log, and is left out of the results",
        '    "a"',
        '    "b"',
    ]
    assert "another list of items:" in str(drift.error(Path("log")))
    assert "none of the 2 recorded keys" in compare(before, now, recorded=2, gone=['"b"', '"a"']).refused[0].text
    assert "2 of 5" in compare(before, now, recorded=5, gone=['"b"', '"a"'], allow=["items"]).warnings[0]
    # It was allowed when they changed.
    assert compare(now, now, recorded=5, gone=['"a"']).changes == ()
    assert compare(Preserved(), now, recorded=5, gone=['"a"']).refused


def test_the_hash_of_items_knows_their_order_and_their_bounds() -> None:
    # printf '"b"\n"a"\n' | sha256sum
    assert items_sha256(['"b"', '"a"']) == "2fd64c33d59e7c85c2b1083e6eb90cd284f1110424168c19dbd078df6b0ce4ab"
    assert len({items_sha256(names) for names in (["a", "b"], ["b", "a"], ["ab"], ["a"], [])}) == 5
