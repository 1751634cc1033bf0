from __future__ import annotations

from pathlib import Path

import pytest

from sweep_sidecar.store import Unreachable, UrlUnsupported, open_store
from sweep_sidecar.store.azure import AzureStore


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/tmp/x", "'/tmp/x' is no URL: use gs://BUCKET/FOLDER, s3://BUCKET/FOLDER, az://CONTAINER/FOLDER, "),
        ("", "is no URL"),
        ("hdfs://bucket/x", "no store for hdfs://"),
        ("az:///x", "names no container"),
        ("az://container/x", "'az://container/x' names no storage account: write abfs://CONTAINER@ACCOUNT"),
        ("abfs://@account.dfs.core.windows.net/x", "names no container"),
        ("s3:///folder", "names no bucket"),
        ("s3://name--use1-az4--x-s3/folder", "is a directory bucket, which lists in no order"),
        ("file://relative/path", "names no absolute path"),
        ("gs:///folder", "names no bucket"),
    ],
)
def test_what_is_not_supported_is_said(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UrlUnsupported, match=message):
        open_store(url)


def test_characters_that_mean_something_in_other_urls_are_plain(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/a#b?c%20d/")
    store.create("key", b"x")
    assert (tmp_path / "a#b?c%20d" / "key").read_bytes() == b"x"
    assert store.url == f"file://{tmp_path}/a#b?c%20d"


def test_gcs_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(Unreachable, match="no credentials for gs://bucket/run"):
        open_store("gs://bucket/run")


def test_s3_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unreachable, match=r"no credentials for s3://bucket/run.*role"):
        open_store("s3://bucket/run", deadline_s=5).list("")


def test_azure_with_unusable_credentials_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "nonsense")
    with pytest.raises(Unreachable, match="cannot use the credentials for az://container/run"):
        open_store("az://container/run")


def test_an_azure_account_may_stand_in_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "another")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    store = open_store("abfs://container@mine.dfs.core.windows.net/a/run/")
    assert store.url == "abfs://container@mine.dfs.core.windows.net/a/run"
    assert isinstance(store, AzureStore)
    assert store.endpoint == "https://mine.blob.core.windows.net"


def test_two_azure_accounts_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=other;AccountKey=a2V5;EndpointSuffix=x.net")
    with pytest.raises(UrlUnsupported, match=r"names account 'mine', but .* account 'other'"):
        open_store("abfs://container@mine.dfs.core.windows.net/run")


def test_no_pod_stores_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(UrlUnsupported, match="lost with the process"):
        open_store("memory://run")


@pytest.mark.parametrize(
    ("engine", "url", "message"),
    [
        ("rocket", "s3://bucket/run", "SWEEP_STORE_ENGINE is 'rocket': set it to obstore, or not at all"),
        ("rocket", "gs://bucket/run", "SWEEP_STORE_ENGINE is 'rocket'"),
        ("obstore", "az://container/run", "names no storage account"),
    ],
)
def test_an_engine_that_cannot_be_used_is_said(
    engine: str, url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SWEEP_STORE_ENGINE", engine)
    with pytest.raises(UrlUnsupported, match=message):
        open_store(url)
