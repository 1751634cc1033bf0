from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from resumable_sweep._notice import Notice, read_notice
from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.file import NoticeFile

PREEMPTED = Announcement(NoticeKind.GCE_PREEMPTED, 1_800_000_030.5)


def test_the_library_understands_what_is_written(tmp_path: Path) -> None:
    file = NoticeFile(tmp_path / "notice.json")
    file.show(PREEMPTED)
    assert read_notice(tmp_path / "notice.json") == Notice("GcePreempted", 1_800_000_030.5)
    file.show(Announcement(NoticeKind.AZURE_PREEMPT))
    assert read_notice(tmp_path / "notice.json") == Notice("AzurePreempt", None)
    file.show(None)
    assert read_notice(tmp_path / "notice.json") is None


def test_it_is_written_as_the_page_shows_it(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "reference" / "formats.md").read_text()
    shown = page.split("\n## The notice")[1].split("\n## ")[0]
    NoticeFile(tmp_path / "notice.json").show(Announcement(NoticeKind.GCE_PREEMPTED, 1_800_000_030.0))
    assert f"    {(tmp_path / 'notice.json').read_text()}\n" in shown
    for kind in NoticeKind:
        assert (f"`{kind.value}`" in shown) is kind.is_hard


def test_what_an_earlier_process_left_is_seen_and_removed(tmp_path: Path) -> None:
    (tmp_path / "notice.json").write_text("{}")
    file = NoticeFile(tmp_path / "notice.json")
    assert file.is_there()
    file.show(None)
    assert not file.is_there()


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        NoticeFile(tmp_path / "notice.json").show(PREEMPTED)
    finally:
        os.umask(before)
    assert (tmp_path / "notice.json").stat().st_mode & 0o777 == 0o644


def test_what_could_not_be_written_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = NoticeFile(tmp_path / "later" / "notice.json")
    with caplog.at_level(logging.WARNING):
        file.show(PREEMPTED)
        file.try_again()
    assert len(caplog.records) == 1
    (tmp_path / "later").mkdir()
    file.try_again()
    assert file.found() == PREEMPTED


def test_another_try_never_brings_back_what_was_withdrawn(tmp_path: Path) -> None:
    file = NoticeFile(tmp_path / "later" / "notice.json")
    file.show(PREEMPTED)
    file.show(None)
    (tmp_path / "later").mkdir()
    file.try_again()
    assert not file.is_there()
    file.show(PREEMPTED)
    file.show(None)
    file.try_again()
    assert not file.is_there()


def test_what_an_earlier_process_has_said_is_found(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    assert NoticeFile(path).found() is None
    for announced in (PREEMPTED, Announcement(NoticeKind.AZURE_PREEMPT)):
        NoticeFile(path).show(announced)
        assert NoticeFile(path).found() == announced


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"reason": "Other", "deadline": 1}', '{"reason": "", "deadline": 1}']
)
def test_what_no_mirror_has_written_announces_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "notice.json").write_text(text)
    assert NoticeFile(tmp_path / "notice.json").found() is None
