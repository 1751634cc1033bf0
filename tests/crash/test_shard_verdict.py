"""The verdict finds what is wrong: with a sidecar that lacks one of its precautions it must say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crash.pods_struck import KINDS, calm
from sweep_sidecar import restore
from sweep_sidecar.capture import capturer, growing
from sweep_sidecar.capture.groups import Group, Kind
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.store import Creation
from sweep_sidecar.store.local import LocalStore

MOST = 6


def finds(kind: str, style: str, words: str, *, call: str, path: str = "", how: str) -> bool:
    """Return whether of the first schedules of a kind that strike such a call one goes wrong in words like these."""
    (one,) = (kind_ for kind_ in KINDS if kind_.name == kind)
    made = calm(style).restored if kind == "restore-kill" else calm(style).mirrored
    mine = [
        schedule
        for schedule in one.schedules()
        if (schedule.program, schedule.how) == (style, how)
        and made[schedule.at].name == call
        and path in made[schedule.at].path
    ]
    return any(re.search(words, text) for schedule in mine[:MOST] for text in one.tried(schedule))


@pytest.fixture
def sloppy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that replaces one of the sidecar's functions, after the undisturbed runs have seen the real one."""

    def instead(owner: Any, name: str, other: Any, *, style: str) -> None:
        assert calm(style).wrong == ()
        monkeypatch.setattr(owner, name, other)

    return instead


def test_an_acknowledgement_of_what_is_not_yet_in_the_store_is_found(sloppy: Callable[..., None]) -> None:
    append = AttemptWriter._append

    def hasty(writer: AttemptWriter, kind: Any, body: dict[str, Any], published: Any) -> None:
        head = writer._log._head
        assert head is not None
        if published is not None:
            writer._published = replace(published, seq=head.entry.seq + 1)
            writer._acknowledge()
        append(writer, kind, body, published)

    sloppy(AttemptWriter, "_append", hasty, style="rewritten")
    assert finds("pod-kill", "rewritten", "was acknowledged", call="link", path="/log/", how="before-other")


def test_a_store_in_which_an_entry_may_be_written_over_is_found(sloppy: Callable[..., None]) -> None:
    create = LocalStore.create

    def careless(store: LocalStore, key: str, data: bytes, **more: Any) -> Creation:
        if "/log/" not in key:
            return create(store, key, data, **more)
        target = store._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".creating-{target.name}")
        staged.write_bytes(data)
        staged.replace(target)
        return Creation.CREATED

    sloppy(LocalStore, "create", careless, style="rewritten")
    assert finds(
        "pod-zombie", "rewritten", "was not made on top|was acknowledged, and", call="link", path="/log/", how="mirror"
    )


def test_a_marker_that_is_written_in_place_is_found_torn(sloppy: Callable[..., None]) -> None:
    sloppy(restore, "replace_durably", lambda target, text: Path(target).write_text(text), style="rewritten")
    assert finds(
        "restore-kill", "rewritten", "the restore failed on its own", call="write", path="/restored-", how="half-kept"
    )


def test_a_line_that_is_taken_before_its_end_is_found(sloppy: Callable[..., None]) -> None:
    sloppy(growing, "_last_line_end", lambda file, start, size: size, style="lines")
    assert finds("mirror-kill", "lines", "losses.jsonl is ", call="link", how="before-kept")


def test_a_pair_that_is_taken_although_it_does_not_fit_is_found(sloppy: Callable[..., None]) -> None:
    groups_of = capturer.groups_of

    def split(*given: Any, **more: Any) -> list[Group]:
        found = groups_of(*given, **more)
        return [Group(Kind.ALONE, path, (path,)) for group in found for path in group.members if path in given[0].files]

    sloppy(capturer, "groups_of", split, style="pair")
    assert finds("mirror-kill", "pair", "the manifest does not fit its file", call="link", how="before-kept")
