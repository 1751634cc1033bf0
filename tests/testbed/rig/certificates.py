"""A certificate authority for one cluster, kept as files and made with the ``openssl`` program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rig.commands import run

_VALID_DAYS = "3650"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-sha256")


class Authority:
    """Signs the certificates of one cluster; its files are ``ca.crt`` and ``ca.key`` in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"

    def create(self) -> None:
        """Make the authority's own key and certificate unless they are there."""
        if self.certificate.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = _config(
            {"CN": "testbed-ca"},
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            "subjectKeyIdentifier=hash",
        )
        new = self.certificate.with_suffix(".new")
        run(_request(self._key, new), stdin=config)
        new.rename(self.certificate)

    def sign(
        self, name: str, *, common_name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> tuple[Path, Path]:
        """Make ``NAME.crt`` and ``NAME.key`` unless they are there; return both paths.

        ``groups`` become the organisations by which the API server knows a client; ``hosts`` are DNS names and
        addresses that a server is called by.
        """
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if certificate.exists():
            return certificate, key
        subject = {f"{i}.O": group for i, group in enumerate(groups)} | {"CN": common_name}
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
            "subjectKeyIdentifier=hash",
            "authorityKeyIdentifier=keyid",
        ]
        if hosts:
            extensions.append("subjectAltName=" + ",".join(_alternative_name(host) for host in hosts))
        new = certificate.with_suffix(".new")
        signer = ("-CA", str(self.certificate), "-CAkey", str(self._key))
        run([*_request(key, new), *signer], stdin=_config(subject, *extensions))
        new.rename(certificate)
        return certificate, key

    def sign_key_pair(self, name: str) -> tuple[Path, Path]:
        """Make a bare key pair ``NAME.key`` and ``NAME.pub``, such as sign service account tokens; return both."""
        key, public = self.directory / f"{name}.key", self.directory / f"{name}.pub"
        if not public.exists():
            run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key])
            run(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
        return key, public


def _request(key: Path, certificate: Path) -> list[str]:
    return [
        *("openssl", "req", "-x509", "-config", "/dev/stdin", "-days", _VALID_DAYS, *_NEW_KEY),
        *("-keyout", str(key), "-out", str(certificate)),
    ]


def _config(subject: dict[str, str], *extensions: str) -> str:
    names = [f"{key}={value}" for key, value in subject.items()]
    head = ["[req]", "prompt=no", "distinguished_name=subject", "x509_extensions=extensions"]
    return "\n".join([*head, "[subject]", *names, "[extensions]", *extensions, ""])


def _alternative_name(host: str) -> str:
    return f"IP:{host}" if host.replace(".", "").isdigit() else f"DNS:{host}"
