"""What the operator's benchmark makes of what it has seen."""

from __future__ import annotations

import json
import re

import pytest

from bench.operator_api import calls_in
from bench.operator_client import Client
from bench.operator_cluster import stages, sweep_manifest
from bench.operator_creation import made_of
from bench.operator_losses import Loss, Relaunches, relaunches
from bench.operator_observer import Observer, Seen
from resumable_sweep.contract.outcome import parsed_outcome
from resumable_sweep.contract.report import Stage, parsed_report
from sweep_operator.api.sweep import ResumableSweep


def seen(shard: int, attempt: int, at: float) -> Seen:
    return Seen("bench", f"pod-{shard}-{attempt}", ("sweep-0", shard), attempt, at)


@pytest.mark.parametrize(
    ("seconds", "missing", "share", "expected"),
    [
        ([3.0, 1.0, 2.0], 0, 0.5, 2.0),
        ([float(second) for second in range(100)], 0, 0.99, 99.0),
        ([1.0, 2.0], 2, 0.25, 2.0),
        ([1.0, 2.0], 2, 0.5, None),
        ([], 1, 0.5, None),
        ([], 0, 0.5, None),
    ],
)
def test_what_was_never_replaced_counts_as_the_longest(
    seconds: list[float], missing: int, share: float, expected: float | None
) -> None:
    assert Relaunches(seconds, missing).quantile(share) == expected


def test_a_loss_is_replaced_by_a_later_attempt_of_its_own_shard() -> None:
    observer = Observer(object.__new__(Client))
    first, other, second = seen(0, 1, 10.0), seen(1, 2, 10.0), seen(0, 3, 12.5)
    observer.seen = [first, other, second]
    found = relaunches([Loss(first, 12.0), Loss(other, 12.0)], observer)
    assert found == Relaunches([0.5], missing=1)


def test_pods_are_counted_from_the_first_to_the_last() -> None:
    made = made_of([seen(0, 1, 11.0), seen(1, 2, 12.0), seen(2, 3, 13.0)], asked=10.0)
    assert (made.pods, made.rate, made.from_asking_s) == (3, 1.0, 3.0)


def test_what_was_asked_since_is_told_by_verb_and_resource() -> None:
    name = "resumable_sweep_api_requests_total"
    lines = [
        f"# TYPE {name[:-6]} counter",
        *(f'{name}{{verb="create",resource="pods",code="{c}"}} 2' for c in (201, 409)),
    ]
    before = calls_in("\n".join(lines))
    after = calls_in("\n".join([*lines, f'{name}{{verb="delete",resource="pods",code="200"}} 3']))
    assert before == {"create pods": 4}
    assert after.since(before) == {"delete pods": 3}


def test_the_sweep_is_one_that_the_operator_knows() -> None:
    manifest = sweep_manifest("lr", shards=200, parallelism=100, ends=True)
    manifest["metadata"] |= {"namespace": "bench", "uid": "u"}
    assert ResumableSweep.model_validate(manifest).spec.parallelism == 100


def test_a_mirror_that_completes_its_shard_says_so_in_the_sidecars_own_words() -> None:
    complete = next(stage for stage in stages() if stage["metadata"]["name"] == "complete")
    said = re.findall(r"message: '(.*)'\}\}", complete["spec"]["next"]["statusTemplate"])
    filled = [re.sub(r"\{\{ index \$\.metadata\.labels \"[^\"]*\" \}\}", "7", words) for words in said]
    outcomes = [outcome for words in filled if (outcome := parsed_outcome(words)) is not None]
    ends = [parsed_report(outcome.details) for outcome in outcomes if outcome.reason == "Ended"]
    assert [(end.stage, end.shard, end.attempt) for end in ends] == [(Stage.COMPLETE, 7, 7)]
    assert json.loads(filled[0])["reason"] == "Ended"
