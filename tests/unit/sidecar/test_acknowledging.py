from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    Durable,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)
from sweep_sidecar.mirror.acknowledging import AcknowledgementFile

SOME = Acknowledgement(attempt=1, generation=4, files={"a": Durable(3, "ab")}, requests=2)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    acknowledgement_path(tmp_path).parent.mkdir()
    return tmp_path


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def said(snapshot: Path) -> Acknowledgement:
    return parsed_acknowledgement(acknowledgement_path(snapshot).read_bytes())


def test_there_is_one_before_anything_is_known(snapshot: Path) -> None:
    AcknowledgementFile(snapshot, attempt=3).open()
    assert said(snapshot) == Acknowledgement(attempt=3, generation=None)


@pytest.mark.usefixtures("strict_umask")
def test_another_user_may_read_and_ask(snapshot: Path) -> None:
    file = AcknowledgementFile(snapshot, attempt=1)
    file.open()
    file.write(SOME)
    assert stat.S_IMODE(acknowledgement_path(snapshot).stat().st_mode) == 0o644
    assert stat.S_IMODE(requests_path(snapshot).stat().st_mode) == 0o666


def test_what_was_said_before_a_restart_stands(snapshot: Path) -> None:
    file = AcknowledgementFile(snapshot, attempt=1)
    file.open()
    file.write(SOME)
    again = AcknowledgementFile(snapshot, attempt=1)
    again.open()
    assert again.newest == said(snapshot) == SOME


@pytest.mark.parametrize("found", [SOME.to_json(), "", '{"schema_version": 1, "attempt": 2'])
def test_what_another_attempt_said_or_left_torn_is_replaced(snapshot: Path, found: str) -> None:
    acknowledgement_path(snapshot).write_text(found)
    AcknowledgementFile(snapshot, attempt=2).open()
    assert said(snapshot) == Acknowledgement(attempt=2, generation=None)


def test_requests_are_counted_and_outlive_a_restart(snapshot: Path) -> None:
    file = AcknowledgementFile(snapshot, attempt=1)
    assert file.requests() == 0
    file.open()
    with requests_path(snapshot).open("ab") as asking:
        asking.write(b"..")
    again = AcknowledgementFile(snapshot, attempt=1)
    again.open()
    assert file.requests() == again.requests() == 2


def test_only_what_is_new_is_written(snapshot: Path) -> None:
    file = AcknowledgementFile(snapshot, attempt=1)
    file.open()
    file.write(SOME)
    before = acknowledgement_path(snapshot).stat()
    file.write(replace(SOME, files=dict(SOME.files)))
    assert acknowledgement_path(snapshot).stat() == before


def test_what_cannot_be_written_is_tried_again(snapshot: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = AcknowledgementFile(snapshot, attempt=1)
    file.open()
    in_the_way = acknowledgement_path(snapshot).with_name("ack.json.tmp")
    in_the_way.mkdir()
    file.write(SOME)
    assert "cannot write" in caplog.text
    assert said(snapshot) == file.newest == Acknowledgement(attempt=1, generation=None)
    in_the_way.rmdir()
    file.write(SOME)
    assert said(snapshot) == SOME


def test_a_mirror_that_cannot_say_anything_does_not_start(snapshot: Path) -> None:
    acknowledgement_path(snapshot).with_name("ack.json.tmp").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        AcknowledgementFile(snapshot, attempt=1).open()
