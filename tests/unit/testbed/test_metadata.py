from __future__ import annotations

import pytest

from rig.metadata import CLOUDS, NOTICE_SECONDS, Asked, Cloud, answer

GOOGLE = {"metadata-flavor": "Google"}
SESSION = {"x-aws-ec2-metadata-token": "testbed-session"}
AZURE = {"metadata": "true"}


@pytest.mark.parametrize(
    ("cloud", "asked", "status"),
    [
        ("gce", Asked("GET", "/computeMetadata/v1/instance/preempted"), 403),
        ("gce", Asked("GET", "/computeMetadata/v1/instance/preempted", headers=GOOGLE), 200),
        ("gce", Asked("GET", "/computeMetadata/v1/instance/service-accounts/", headers=GOOGLE), 404),
        ("gce", Asked("PUT", "/latest/api/token"), 403),
        ("ec2", Asked("GET", "/latest/meta-data/"), 401),
        ("ec2", Asked("PUT", "/latest/api/token"), 400),
        ("ec2", Asked("GET", "/latest/meta-data/spot/instance-action", headers=SESSION), 404),
        ("azure", Asked("GET", "/metadata/scheduledevents"), 400),
        ("azure", Asked("GET", "/metadata/scheduledevents", headers=AZURE), 200),
        ("azure", Asked("GET", "/metadata/identity/oauth2/token", headers=AZURE), 404),
    ],
)
def test_a_cloud_s_server_is_as_strict_as_the_cloud_s(cloud: Cloud, asked: Asked, status: int) -> None:
    assert answer(cloud, asked, node="spot-1", goes_at=None).status == status


def test_every_cloud_gives_a_time() -> None:
    assert set(NOTICE_SECONDS) == set(CLOUDS)
