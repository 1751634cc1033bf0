"""docs/reference/signals-and-conditions.md has every name that the code has, and none besides."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import NoticeKind
from sweep_operator.api import Phase
from sweep_operator.decide.classify import finding_of
from sweep_operator.kube import projection
from sweep_operator.model.observed import ContainerView, PodView, Presence, Role
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.signals import Signal
from sweep_operator.pods import names
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.sidecar import MIRROR, RESTORE
from sweep_operator.runtime import settings
from sweep_operator.runtime.translation import sweep_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "signals-and-conditions.md").read_text()

# Where the words of conditions and events are written. Their CamelCase literals are just these words, but for a few
# that are Kubernetes' own.
SPEAKERS = (
    "operator/sweep_operator/decide/budgets.py",
    "operator/sweep_operator/decide/conditions.py",
    "operator/sweep_operator/decide/finished.py",
    "operator/sweep_operator/decide/housekeeping.py",
    "operator/sweep_operator/decide/notices.py",
    "operator/sweep_operator/decide/platform.py",
    "operator/sweep_operator/decide/retry.py",
    "operator/sweep_operator/decide/shard.py",
    "operator/sweep_operator/decide/sidecars.py",
    "operator/sweep_operator/decide/sight.py",
    "operator/sweep_operator/decide/silence.py",
    "operator/sweep_operator/decide/succession.py",
    "operator/sweep_operator/decide/summary.py",
    "operator/sweep_operator/decide/sweep.py",
    "operator/sweep_operator/model/observed.py",
    "operator/sweep_operator/runtime/creation_events.py",
    "operator/sweep_operator/runtime/refusals.py",
    "operator/sweep_operator/runtime/translation.py",
    "sidecar/sweep_sidecar/capture/capturer.py",
    "sidecar/sweep_sidecar/command.py",
    "sidecar/sweep_sidecar/mirror/writer.py",
    "sidecar/sweep_sidecar/restore.py",
)
NOT_SHOWN = {"Pod", "Succeeded", "True", "False", "Unknown", "PodInitializing", "ContainerCreating"}
"""Kubernetes' own words, which the code compares with."""
NOT_SHOWN |= {"Settled", "Outdated", "Continue"}
"""Why a pod is deleted: in the plan only."""
NOT_SHOWN |= {"ContainerStatusUnknown"}
"""A kubelet's word for a container that it does not find."""
NOT_SHOWN |= {"OOMKilled"}
"""A kubelet's word for a container at its memory limit."""
NOT_SHOWN |= {"AlreadyExists"}
"""An API server's word for a name that is taken."""
NOT_SHOWN |= {"ErrImagePull"}
"""It is shown under the name of what always follows it."""
NOT_SHOWN |= {"Restored", "FreshStart", "Resolved"}
"""Outcomes of sidecars that went well: in termination messages only."""
NOT_SHOWN |= {"SnapshotVolumeTooSmall"}
"""In the restore's termination message: what is shown is the signal, and its sentence."""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of a text's tables, without the heads."""
    lines = text.splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    heads = {place for place, row in enumerate(cells) if all(re.fullmatch("-+", cell) for cell in row)}
    return [row for place, row in enumerate(cells) if place not in heads and place + 1 not in heads]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_cells(title: str) -> list[str]:
    return [name for row in rows(section(title)) for name in named(row[0])]


def words_in(path: str) -> set[str]:
    """The CamelCase literals of a module."""
    literals = (node.value for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Constant))
    return {word for word in literals if isinstance(word, str) and re.fullmatch("([A-Z][a-z]+)+", word)}


def same(listed: Iterable[str], there: Iterable[str]) -> None:
    listed = list(listed)
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert set(listed) == set(there)


def class_of(signal: Signal) -> str:
    if signal.is_reclaim:
        return "reclaim"
    if signal.is_infrastructure:
        return "infrastructure"
    if signal.is_user_failure:
        return "user failure"
    return "final" if signal.is_final else "none"


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    manifest = {
        "metadata": {"namespace": "team", "name": "lr", "uid": "1"},
        "spec": {
            "shards": 2,
            "items": {"list": [1, 2]},
            "checkpoint": {"url": "gs://bucket", "file": "results.jsonl"},
            "template": {"spec": {"containers": [{"name": "main", "image": "main:1"}]}},
        },
    }
    order = CreateAttempt(shard=0, attempt=2, resumes=True, take_after=35)
    return pod_for(sweep_of(manifest), order, settings=PodSettings(sidecar_image="sidecar:1"), stop_path="/stop")


def variables(container: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in container["env"]}


def test_every_signal_has_its_row_and_class() -> None:
    table = {named(row[0])[0]: row[1] for row in rows(section("Signals")) if len(row) == 3 and named(row[0])}
    assert table == {signal.value: class_of(signal) for signal in Signal if signal is not Signal.NONE}


def test_every_notice_has_its_row_and_kind() -> None:
    table = {named(row[0])[0]: row[1] for row in rows(section("Notices"))}
    assert table == {kind.value: "hard" if kind.is_hard else "advice" for kind in NoticeKind if kind}


def test_every_taint_that_announces_a_node_s_end_is_named() -> None:
    paragraph = section("Signals").split("The taints that announce")[1].split("\n\n")[0]
    same(named(paragraph), projection._TERMINATION_TAINTS)


def test_every_phase_is_named() -> None:
    assert set(Phase) <= set(named(section("Phases")))


def test_every_word_of_conditions_and_events_has_its_row() -> None:
    said = set().union(*(words_in(path) for path in SPEAKERS)) - NOT_SHOWN - {"Pending"}
    conditions = [row for row in rows(section("Conditions")) if named(row[0])]
    listed = {named(row[0])[0] for row in conditions} | set(first_cells("Events"))
    assert said - listed == set(), "the code says them, the page does not"
    # What ends a shard is a signal; a condition can pass the sidecar's word for the same thing on.
    assert listed - said - set(Signal) == set(), "the page has them, the code does not"


def test_every_label_and_annotation_has_its_row(pod: dict[str, Any]) -> None:
    same(first_cells("Labels"), pod["metadata"]["labels"])
    same(first_cells("Annotations"), pod["metadata"]["annotations"])


def test_every_role_is_named() -> None:
    (row,) = (row for row in rows(section("Labels")) if named(row[0]) == [names.ROLE])
    same(named(row[2]), set(Role))


def test_no_table_has_two_rows_for_a_word() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        words = [word for row in rows(table) for word in named(row[0])]
        assert sorted(words) == sorted(set(words))


def test_the_objects_have_these_names() -> None:
    found = {
        names.attempt_pod_name(sweep="SWEEP", sweep_uid="1", shard=0, attempt=2),
        names.items_config_map_name(sweep="SWEEP", sweep_uid="1"),
        *(names.housekeeping_pod_name(sweep="SWEEP", sweep_uid="1", role=role) for role in set(Role) - {Role.ATTEMPT}),
    }
    shown = {name.replace(names.uid_hash("1"), "HASH").replace("-0-2", "-SHARD-ATTEMPT") for name in found}
    same([name for row in rows(section("Names of objects")) for name in named(row[1])], {*shown, RESTORE, MIRROR})


def test_every_variable_of_the_experiment_has_its_row(pod: dict[str, Any]) -> None:
    same(first_cells("Variables of the experiment"), variables(pod["spec"]["containers"][0]))


def test_every_variable_of_the_sidecar_has_its_row(pod: dict[str, Any]) -> None:
    theirs = variables(pod["spec"]["containers"][0])
    own = {container["name"]: variables(container) for container in pod["spec"]["initContainers"]}
    assert own[RESTORE] == own[MIRROR]
    same(first_cells("Variables of the sidecar"), own[MIRROR] - theirs)


def test_every_exit_code_has_its_row() -> None:
    there = [[str(code.value), f"`{code.name}`"] for code in Exit]
    assert [row[:2] for row in rows(section("Exit codes"))] == there


@pytest.mark.parametrize("row", rows(section("Exit codes")), ids=lambda row: row[1].strip("`"))
def test_an_attempt_s_exit_code_means_what_is_said(row: list[str]) -> None:
    restore = ContainerView(name=RESTORE, started=True, exit_code=int(row[0]))
    pod = PodView(
        namespace="team",
        name="lr-0-1",
        uid="1",
        sweep="lr",
        sweep_uid="1",
        role=Role.ATTEMPT,
        phase="Running" if restore.exit_code == 0 else "Failed",
        restore=restore,
    )
    finding = finding_of(
        pod, absent=False, incarnation="", presence=Presence(), report=None, unreachable_after=60.0, now=0.0
    )
    if not row[2]:
        return  # not a code of sweep-restore
    expected = {"goes on": ("", False), "the shard is complete": ("", True)}
    assert (finding.signal.value, finding.complete) == expected.get(row[2], (row[2].strip("`"), False))


def test_every_setting_of_the_operator_has_its_row() -> None:
    constants = [value for value in vars(settings).values() if isinstance(value, str) and value.startswith("RSWEEP_")]
    same(first_cells("Settings of the operator"), constants)
