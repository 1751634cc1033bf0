from __future__ import annotations

import pytest

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.gce import GceReader
from sweep_sidecar.notice.metadata import NoNotices, NoReply, Reply
from unit.sidecar.notice.fake_metadata import Clock, FakeMetadata

PREEMPTED = "GET /computeMetadata/v1/instance/preempted"
MAINTENANCE = "GET /computeMetadata/v1/instance/maintenance-event"


class Machine:
    def __init__(self) -> None:
        self.metadata = FakeMetadata()
        self.clock = Clock()
        self.reader = GceReader(self.metadata, clock=self.clock)
        self.say()

    def say(self, preempted: str = "FALSE", maintenance: str = "NONE", etag: str = "e1") -> None:
        self.metadata.says[PREEMPTED] = Reply(status=200, headers={"etag": etag}, body=preempted)
        self.metadata.says[MAINTENANCE] = Reply(status=200, headers={}, body=maintenance)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_machine_in_use_announces_nothing(machine: Machine) -> None:
    assert machine.reader.read() is None


def test_a_preemption_ends_the_machine_30_s_after_it_was_seen_and_may_be_withdrawn(machine: Machine) -> None:
    machine.reader.read()
    machine.say(preempted="TRUE", etag="e2")
    assert machine.reader.read() == Announcement(NoticeKind.GCE_PREEMPTED, 1030.0)
    machine.clock.now += 7
    assert machine.reader.read() == Announcement(NoticeKind.GCE_PREEMPTED, 1030.0)
    machine.say(etag="e1")
    assert machine.reader.read() is None


@pytest.mark.parametrize(
    ("maintenance", "announced"),
    [
        ("NONE", None),
        ("MIGRATE_ON_HOST_MAINTENANCE", None),
        ("TERMINATE_ON_HOST_MAINTENANCE", Announcement(NoticeKind.GCE_MAINTENANCE)),
    ],
)
def test_only_maintenance_that_stops_the_machine_is_announced(
    machine: Machine, maintenance: str, announced: Announcement | None
) -> None:
    machine.say(maintenance=maintenance)
    assert machine.reader.read() == announced


def test_a_preemption_counts_before_maintenance(machine: Machine) -> None:
    machine.say(preempted="TRUE", maintenance="TERMINATE_ON_HOST_MAINTENANCE")
    announced = machine.reader.read()
    assert announced is not None
    assert announced.kind is NoticeKind.GCE_PREEMPTED


def test_what_stands_is_asked_for_first_and_waited_for_then(machine: Machine) -> None:
    machine.reader.read()
    machine.reader.read()
    (first, headers, first_s), _, (second, _, second_s), _ = machine.metadata.asked
    assert first == "/computeMetadata/v1/instance/preempted"
    assert headers == {"Metadata-Flavor": "Google"}
    assert second == f"{first}?wait_for_change=true&timeout_sec=20&last_etag=e1"
    assert second_s > 20 > first_s


def test_a_server_without_etags_is_not_waited_for(machine: Machine) -> None:
    machine.metadata.says[PREEMPTED] = Reply(status=200, body="FALSE")
    machine.reader.read()
    machine.reader.read()
    assert not [path for path, _, _ in machine.metadata.asked if "wait_for_change" in path]


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_shows_pods_no_preemption_has_no_notices(machine: Machine, status: int) -> None:
    machine.metadata.says[PREEMPTED] = Reply(status=status)
    with pytest.raises(NoNotices, match="workload identity"):
        machine.reader.read()


def test_maintenance_that_is_not_shown_hides_no_preemption(machine: Machine) -> None:
    machine.metadata.says[MAINTENANCE] = Reply(status=404)
    assert machine.reader.read() is None
    machine.say(preempted="TRUE")
    assert machine.reader.read() is not None


@pytest.mark.parametrize("reply", [None, Reply(status=503), Reply(status=200, body="<html>"), Reply(status=302)])
def test_what_it_cannot_have_meant_is_asked_again(machine: Machine, reply: Reply | None) -> None:
    machine.metadata.says[PREEMPTED] = reply
    with pytest.raises(NoReply):
        machine.reader.read()
