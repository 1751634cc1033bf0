from __future__ import annotations

import pytest

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.ec2 import Ec2Reader, ec2_reader
from sweep_sidecar.notice.metadata import NoNotices, NoReply, Reply
from unit.sidecar.notice.fake_metadata import Clock, FakeMetadata

TOKEN = "PUT /latest/api/token"
ACTION = "GET /latest/meta-data/spot/instance-action"
REBALANCE = "GET /latest/meta-data/events/recommendations/rebalance"
TERMINATE = Reply(status=200, body='{"action": "terminate", "time": "2026-11-22T14:02:00Z"}')
AT_1402 = 1795356120.0


@pytest.fixture
def metadata() -> FakeMetadata:
    metadata = FakeMetadata()
    metadata.says[TOKEN] = Reply(status=200, body="session")
    return metadata


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(metadata: FakeMetadata, clock: Clock) -> Ec2Reader:
    reader = ec2_reader(metadata, clock=clock)
    assert reader is not None
    return reader


def test_an_instance_in_use_announces_nothing(reader: Ec2Reader, metadata: FakeMetadata) -> None:
    assert reader.read() is None
    assert [headers for _, headers, _ in metadata.asked[1:]] == [{"X-aws-ec2-metadata-token": "session"}] * 2


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_an_interruption_says_when(reader: Ec2Reader, metadata: FakeMetadata, action: str) -> None:
    metadata.says[ACTION] = Reply(status=200, body=f'{{"action": "{action}", "time": "2026-11-22T14:02:00Z"}}')
    assert reader.read() == Announcement(NoticeKind.EC2_INTERRUPTION, AT_1402)
    del metadata.says[ACTION]
    assert reader.read() is None


@pytest.mark.parametrize("body", ["", "soon", "{}", '{"time": 5}', '{"time": "tomorrow"}', "[1]"])
def test_that_it_is_there_is_the_message(reader: Ec2Reader, metadata: FakeMetadata, clock: Clock, body: str) -> None:
    metadata.says[ACTION] = Reply(status=200, body=body)
    expected = Announcement(NoticeKind.EC2_INTERRUPTION, clock.now + 120)
    assert reader.read() == expected
    clock.now += 5
    assert reader.read() == expected


def test_a_rebalance_recommendation_is_advice_until_an_interruption_follows(
    reader: Ec2Reader, metadata: FakeMetadata
) -> None:
    metadata.says[REBALANCE] = Reply(status=200, body='{"noticeTime": "2026-11-22T13:00:00Z"}')
    assert reader.read() == Announcement(NoticeKind.EC2_REBALANCE)
    metadata.says[ACTION] = TERMINATE
    announced = reader.read()
    assert announced is not None
    assert announced.kind is NoticeKind.EC2_INTERRUPTION


def test_a_session_that_has_ended_is_begun_anew(metadata: FakeMetadata, clock: Clock) -> None:
    class Expiring(FakeMetadata):
        def __call__(self, path, headers, *, method="GET", timeout_s=2.0):  # type: ignore[no-untyped-def]
            if method == "GET" and headers.get("X-aws-ec2-metadata-token") != "second":
                return Reply(status=401)
            return super().__call__(path, headers, method=method, timeout_s=timeout_s)

    expiring = Expiring()
    expiring.says[TOKEN] = Reply(status=200, body="second")
    expiring.says[ACTION] = TERMINATE
    reader = Ec2Reader(expiring, token="first", clock=clock)
    assert reader.read() is not None


def test_a_pod_whose_session_does_not_arrive_is_told_what_to_set(metadata: FakeMetadata, clock: Clock) -> None:
    metadata.says[TOKEN] = None
    metadata.says["GET /latest/meta-data/"] = Reply(status=401)
    with pytest.raises(NoNotices, match="HttpPutResponseHopLimit to 2"):
        ec2_reader(metadata, clock=clock)


def test_where_no_session_is_wanted_none_is_needed(metadata: FakeMetadata, clock: Clock) -> None:
    metadata.says[TOKEN] = None
    metadata.says["GET /latest/meta-data/"] = Reply(status=200, body="ami-id")
    metadata.says[ACTION] = TERMINATE
    reader = ec2_reader(metadata, clock=clock)
    assert reader is not None
    assert reader.read() == Announcement(NoticeKind.EC2_INTERRUPTION, AT_1402)
    assert metadata.asked[-1][1] == {}


@pytest.mark.parametrize("reply", [Reply(status=404), Reply(status=405), Reply(status=200, body="")])
def test_another_server_is_not_taken_for_ec2_s(metadata: FakeMetadata, clock: Clock, reply: Reply) -> None:
    metadata.says[TOKEN] = reply
    assert ec2_reader(metadata, clock=clock) is None


def test_a_server_that_is_switched_off_has_no_notices(reader: Ec2Reader, metadata: FakeMetadata) -> None:
    metadata.says[ACTION] = Reply(status=403)
    with pytest.raises(NoNotices, match="switched off"):
        reader.read()


@pytest.mark.parametrize("reply", [None, Reply(status=500), Reply(status=429)])
def test_an_answer_that_says_nothing_withdraws_nothing(
    reader: Ec2Reader, metadata: FakeMetadata, reply: Reply | None
) -> None:
    metadata.says[ACTION] = reply
    with pytest.raises(NoReply):
        reader.read()
