from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.metadata import Reply
from sweep_sidecar.notice.watch import LOOK_PAUSES_S, NoticeWatch
from unit.sidecar.notice.fake_metadata import Clock, FakeMetadata

PREEMPTED = "GET /computeMetadata/v1/instance/preempted"
FOUND = Reply(status=200, headers={"metadata-flavor": "Google"})
FALSE = Reply(status=200, headers={"etag": "a"}, body="FALSE")
TRUE = Reply(status=200, headers={"etag": "b"}, body="TRUE")
ANNOUNCED = Announcement(NoticeKind.GCE_PREEMPTED, 1030.0)


class Story:
    """A watch whose waits are steps: before each, the next of `steps` is done, and after the last comes the end."""

    def __init__(self, *steps: Callable[[FakeMetadata], None]) -> None:
        self.metadata = FakeMetadata()
        self.metadata.says["GET /"] = None
        self.steps = list(steps)
        self.waited: list[float] = []
        self.told: list[Announcement | None] = []
        self.watch = NoticeWatch(self.metadata, changed=self.told.append, clock=Clock(), wait=self.wait)

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        if not self.steps:
            return True
        self.steps.pop(0)(self.metadata)
        return False


def says(preempted: Reply | None) -> Callable[[FakeMetadata], None]:
    def step(metadata: FakeMetadata) -> None:
        metadata.says["GET /"] = FOUND
        metadata.says[PREEMPTED] = preempted

    return step


def nothing(metadata: FakeMetadata) -> None:
    pass


def test_what_stands_first_is_told_and_every_change() -> None:
    story = Story(says(FALSE), says(FALSE), says(FALSE), says(TRUE), says(TRUE), says(FALSE))
    story.watch.follow()
    assert story.told == [None, ANNOUNCED, None]


def test_a_reclaim_announced_before_the_start_is_told() -> None:
    story = Story(says(TRUE), nothing)
    story.watch.follow()
    assert story.told == [ANNOUNCED]


def test_a_server_that_falls_silent_withdraws_nothing(caplog: pytest.LogCaptureFixture) -> None:
    story = Story(says(TRUE), nothing, says(None), says(None), says(None), says(TRUE))
    with caplog.at_level(logging.WARNING):
        story.watch.follow()
    assert story.told == [ANNOUNCED]
    assert [record.message for record in caplog.records if "does not answer" in record.message] == [
        "the metadata server of Google Cloud does not answer: it hangs"
    ]
    # Its pauses grow meanwhile.
    assert story.waited[3:6] == [1.0, 2.0, 4.0]


def test_a_server_that_comes_late_is_found() -> None:
    story = Story(nothing, nothing, says(TRUE), nothing)
    story.watch.follow()
    assert story.told == [ANNOUNCED]
    assert story.waited[:3] == list(LOOK_PAUSES_S[:3])


@pytest.mark.parametrize("root", [None, Reply(status=200, body="hello")])
def test_without_a_known_server_it_gives_up_and_says_so_once(
    root: Reply | None, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(*[nothing] * 20)
    story.metadata.says["GET /"] = root
    with caplog.at_level(logging.INFO):
        story.watch.follow()
    assert story.told == []
    assert story.waited == list(LOOK_PAUSES_S)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["no notices of reclaims"]


def test_a_server_without_notices_is_asked_no_more_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    story = Story(says(Reply(status=404)), *[nothing] * 5)
    with caplog.at_level(logging.INFO):
        story.watch.follow()
    assert story.told == []
    assert len(story.steps) == 4
    assert [record.message for record in caplog.records if record.message.startswith("no notices: ")]


def test_it_ends_when_it_is_stopped() -> None:
    metadata = FakeMetadata()
    metadata.says["GET /"] = None
    watch = NoticeWatch(metadata, changed=lambda announced: None)
    watch.start()
    watch.stop()
    watch._thread.join(10)
    assert not watch._thread.is_alive()
