"""Azurite: Azure Blob Storage's protocol. It is a program of Node's, installed from a lock with hashes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from integration.store.server import Server, new_name
from rig.binaries import cache_directory
from rig.packages import install

_ACCOUNT = "devstoreaccount1"
# The account that Azurite is known to start with; no secret (https://learn.microsoft.com/azure/storage/common/storage-use-azurite).
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SOURCES = Path(__file__).parent / "azurite"
_FOR_NODE = {"node": "nodejs", "npm": "npm"}


class AzureServer(Server):
    scheme = "az"
    many = 5_100  # one answer holds 5,000

    def command(self) -> list[str]:
        return [
            *("node", str(_installed() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js")),
            *("--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence"),
            # The client may be newer than the server; what is asked of it here is older than both.
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        ]

    def make_bucket(self) -> str:
        name = new_name()
        with BlobServiceClient.from_connection_string(_connection_string(self.url, f"AccountKey={_KEY}")) as service:
            service.create_container(name).close()
        return name

    def fill(self, bucket: str, prefix: str, count: int) -> None:
        signature = _signature(bucket, ContainerSasPermissions(create=True))
        requests = [
            f"PUT /{_ACCOUNT}/{bucket}/{prefix}{number:05d}?{signature} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            "x-ms-blob-type: BlockBlob\r\nContent-Length: 0\r\n\r\n"
            for number in range(count)
        ]
        self.ask_at_once(requests, expect=b"HTTP/1.1 201")

    def environment(self, url: str, *, bucket: str, may_delete: bool = True) -> dict[str, str]:
        if may_delete:
            return {"AZURE_STORAGE_CONNECTION_STRING": _connection_string(url, f"AccountKey={_KEY}")}
        signature = _signature(bucket, ContainerSasPermissions(create=True, read=True, list=True))
        return {
            "AZURE_STORAGE_CONNECTION_STRING": _connection_string(url, f"SharedAccessSignature={signature}"),
        }

    def environment_unsigned(self, url: str, *, bucket: str) -> dict[str, str]:
        """Return variables by which requests are not signed one by one, so that a proxy may change them."""
        signature = _signature(bucket, ContainerSasPermissions(create=True, read=True, list=True, write=True))
        return {"AZURE_STORAGE_CONNECTION_STRING": _connection_string(url, f"SharedAccessSignature={signature}")}


def _connection_string(url: str, secret: str) -> str:
    account = "" if secret.startswith("Shared") else f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};"
    return f"{account}{secret};BlobEndpoint={url}/{_ACCOUNT};"


def _signature(bucket: str, permission: ContainerSasPermissions) -> str:
    expiry = datetime.now(UTC) + timedelta(hours=2)
    return generate_container_sas(_ACCOUNT, bucket, account_key=_KEY, permission=permission, expiry=expiry)


def _installed() -> Path:
    """Return the folder that Azurite is installed in; what its lock names is fetched once."""
    install(_FOR_NODE)
    digest = hashlib.sha256((_SOURCES / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = cache_directory() / "azurite" / digest
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may find it missing at once
        if not (folder / ".ready").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_SOURCES / name, folder)
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=folder,
                check=True,
            )
            (folder / ".ready").touch()
    return folder
