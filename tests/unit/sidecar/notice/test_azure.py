from __future__ import annotations

import json
from typing import Any

import pytest

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.azure import AzureReader, azure_reader
from sweep_sidecar.notice.metadata import NoNotices, NoReply, Reply
from unit.sidecar.notice.fake_metadata import Clock, FakeMetadata

NAME = "GET /metadata/instance/compute/name"
EVENTS = "GET /metadata/scheduledevents"
HERE = "aks-spot-12-vmss_3"
AT_1402 = 1795356120.0
HARD = NoticeKind.AZURE_PREEMPT
SOFT = NoticeKind.AZURE_MAINTENANCE


def event(**changed: Any) -> dict[str, Any]:
    return {
        "EventId": "one",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": [HERE],
        "EventStatus": "Scheduled",
        "NotBefore": "Sun, 22 Nov 2026 14:02:00 GMT",
        **changed,
    }


class Machine:
    def __init__(self) -> None:
        self.metadata = FakeMetadata()
        self.clock = Clock()
        self.metadata.says[NAME] = Reply(status=200, body=HERE)
        self.say()
        reader = azure_reader(self.metadata, clock=self.clock)
        assert reader is not None
        self.reader: AzureReader = reader

    def say(self, *events: dict[str, Any]) -> None:
        body = json.dumps({"DocumentIncarnation": 1, "Events": events})
        self.metadata.says[EVENTS] = Reply(status=200, body=body)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize(
    ("events", "announced"),
    [
        ([], None),
        ([event()], Announcement(HARD, AT_1402)),
        ([event(Resources=["aks-spot-12-vmss_4", HERE.upper()])], Announcement(HARD, AT_1402)),
        ([event(Resources=["aks-spot-12-vmss_4"])], None),
        ([event(Resources=["aks-spot-12-vmss_30"])], None),
        ([event(NotBefore="")], Announcement(HARD, 1030.0)),
        ([event(NotBefore="soon")], Announcement(HARD, 1030.0)),
        ([event(NotBefore="", EventStatus="Started")], Announcement(HARD, 1000.0)),
        ([event(EventType="Freeze")], Announcement(SOFT, AT_1402)),
        ([event(EventType="Reboot", NotBefore="")], Announcement(SOFT, None)),
        ([event(EventType="Redeploy")], Announcement(SOFT, AT_1402)),
        ([event(EventType="Terminate")], Announcement(SOFT, AT_1402)),
        ([event(EventType="Freeze", EventId="two"), event()], Announcement(HARD, AT_1402)),
    ],
)
def test_events_of_this_machine_are_announced(
    machine: Machine, events: list[dict[str, Any]], announced: Announcement | None
) -> None:
    machine.say(*events)
    assert machine.reader.read() == announced


def test_an_event_keeps_its_time_when_it_has_started_and_goes_with_its_end(machine: Machine) -> None:
    machine.say(event())
    machine.reader.read()
    machine.say(event(NotBefore="", EventStatus="Started"))
    assert machine.reader.read() == Announcement(HARD, AT_1402)
    machine.say()
    assert machine.reader.read() is None


def test_the_first_answer_of_all_may_take_two_minutes(machine: Machine) -> None:
    machine.metadata.asked.clear()
    machine.reader.read()
    machine.reader.read()
    first, second = [timeout_s for _, _, timeout_s in machine.metadata.asked]
    assert first > 120 > second
    assert all(headers == {"Metadata": "true"} for _, headers, _ in machine.metadata.asked)


@pytest.mark.parametrize("reply", [Reply(status=400), Reply(status=404), Reply(status=200, body="")])
def test_another_server_is_not_taken_for_azure_s(reply: Reply) -> None:
    metadata = FakeMetadata()
    metadata.says[NAME] = reply
    assert azure_reader(metadata, clock=Clock()) is None


def test_a_server_that_hides_its_events_has_no_notices(machine: Machine) -> None:
    machine.metadata.says[EVENTS] = Reply(status=403)
    with pytest.raises(NoNotices):
        machine.reader.read()


@pytest.mark.parametrize(
    "reply",
    [None, Reply(status=429), Reply(status=200, body="<html>"), Reply(status=200, body='{"Events": [{}]}')],
)
def test_an_answer_that_says_nothing_withdraws_nothing(machine: Machine, reply: Reply | None) -> None:
    machine.metadata.says[EVENTS] = reply
    with pytest.raises(NoReply):
        machine.reader.read()
