"""How an operator is told that there are others."""

from __future__ import annotations

import pytest

from sweep_operator.runtime.election import Candidacy
from sweep_operator.runtime.settings import SettingsInvalid, settings_from

ALL = {
    "RSWEEP_SIDECAR_IMAGE": "sidecar:1",
    "RSWEEP_LEASE": "ops/sweeps",
    "RSWEEP_POD_NAME": "operator-0",
    "RSWEEP_POD_IP": "10.0.0.7",
    "RSWEEP_PORT": "9000",
}


def test_a_candidate_knows_its_lease_and_its_own_address() -> None:
    assert settings_from(ALL).candidacy == Candidacy(
        namespace="ops", lease="sweeps", name="operator-0", address="http://10.0.0.7:9000"
    )


def test_without_a_lease_there_is_one_operator() -> None:
    assert settings_from({**ALL, "RSWEEP_LEASE": ""}).candidacy is None


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({"RSWEEP_LEASE": "sweeps"}, "RSWEEP_LEASE is 'sweeps': give NAMESPACE/NAME"),
        ({"RSWEEP_LEASE": "ops/*"}, r"RSWEEP_LEASE is 'ops/\*': give NAMESPACE/NAME"),
        ({"RSWEEP_POD_NAME": ""}, "RSWEEP_POD_NAME is not set, and RSWEEP_LEASE is: give each operator a name"),
        ({"RSWEEP_POD_IP": ""}, "RSWEEP_POD_IP is not set, and RSWEEP_LEASE is: give each operator the address"),
    ],
)
def test_half_a_candidate_is_refused(variables: dict[str, str], match: str) -> None:
    with pytest.raises(SettingsInvalid, match=match):
        settings_from({**ALL, **variables})
