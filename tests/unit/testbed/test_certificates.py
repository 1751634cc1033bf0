from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rig.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    made.create()
    return made


def test_certificate_is_trusted_for_the_hosts_it_names(authority: Authority) -> None:
    certificate, _ = authority.sign("server", common_name="server", hosts=["api.example", "100.64.0.1"])

    for option, value in (("-verify_hostname", "api.example"), ("-verify_ip", "100.64.0.1")):
        assert _verify(authority, certificate, option, value).returncode == 0
    assert _verify(authority, certificate, "-verify_hostname", "other.example").returncode != 0


def test_client_is_known_by_name_and_groups(authority: Authority) -> None:
    certificate, _ = authority.sign("client", common_name="system:node:a", groups=["system:nodes", "more"])

    said = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-subject", "-nameopt", "multiline"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "= system:node:a" in said
    assert "= system:nodes" in said
    assert "= more" in said


def test_what_is_there_stays(authority: Authority) -> None:
    certificate, _ = authority.sign("client", common_name="a")
    before = certificate.read_bytes(), authority.certificate.read_bytes()

    authority.create()
    authority.sign("client", common_name="b")

    assert (certificate.read_bytes(), authority.certificate.read_bytes()) == before


def _verify(authority: Authority, certificate: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", authority.certificate, *options, certificate]
    return subprocess.run(command, capture_output=True, check=False)
