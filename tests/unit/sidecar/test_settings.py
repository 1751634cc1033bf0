from __future__ import annotations

import pytest

from sweep_sidecar.settings import AttemptSettings, SettingsInvalid

COMPLETE = {
    "SWEEP_STORE_URL": "gs://bucket/ns/sweep/run/",
    "SWEEP_RUN_ID": "run",
    "SWEEP_SHARDS": "4",
    "SWEEP_SHARD": "3",
    "SWEEP_ATTEMPT": "17",
    "SWEEP_POD_UID": "uid",
    "SWEEP_SNAPSHOT_DIR": "/sweep/snapshot",
    "SWEEP_CHECKPOINT_FILE": "deep//results.jsonl",
    "SWEEP_INTERVAL": "2.5",
    "SWEEP_STOP_PATH": "/stop/x",
    "SWEEP_REPORT_URL": "http://operator:8080/",
    "SWEEP_METADATA_URL": "http://169.254.169.254",
    "SWEEP_IMAGES": "a:1,b:2",
    "SWEEP_PROGRAM_SHA256": "c0ffee",
    "SWEEP_ALLOW_DRIFT": "Images,All",
    "SWEEP_FLUSH_TIMEOUT": "90",
    "SWEEP_TAKE_AFTER": "35",
    "SWEEP_COMMIT": "orbax\nstep-*/DONE",
    "SWEEP_APPEND": "**/*.csv",
    "SWEEP_PROGRESS": "Gmat",
    "SWEEP_COMPLETION": "ExitCode",
}


def test_the_environment_is_read() -> None:
    settings = AttemptSettings.from_environment(COMPLETE)
    assert settings.run.store_url == "gs://bucket/ns/sweep/run"
    assert (settings.shard, settings.run.shards, settings.attempt) == (3, 4, 17)
    assert settings.checkpoint_file == "deep/results.jsonl"
    assert settings.interval_s == 2.5
    assert settings.port == 9810
    assert settings.report_url == "http://operator:8080"
    assert settings.metadata_url == "http://169.254.169.254"
    assert str(settings.notice_file) == "/sweep/snapshot/.sweep/notice.json"
    assert settings.images == ("a:1", "b:2")
    assert settings.token_file is None
    assert (settings.flush_timeout_s, settings.take_after_s) == (90, 35)
    assert (settings.commit, settings.append) == (("orbax", "step-*/DONE"), ("**/*.csv",))
    assert (settings.progress, settings.completion) == ("gmat", "ExitCode")
    assert (settings.program_sha256, settings.allow_drift) == ("c0ffee", {"Images", "All"})
    assert str(settings.restored_marker) == "/sweep/snapshot/.sweep/restored-17"
    assert settings.folder.endswith("-shard-00003")


def test_what_a_user_did_not_say_stays_as_it_was() -> None:
    said = ("TAKE_AFTER", "FLUSH_TIMEOUT", "COMMIT", "APPEND", "PROGRESS", "COMPLETION")
    settings = AttemptSettings.from_environment({**COMPLETE, **{f"SWEEP_{name}": "" for name in said}})
    assert (settings.flush_timeout_s, settings.commit, settings.append) == (300, (), ())
    assert (settings.progress, settings.completion, settings.take_after_s) == ("auto", "", 0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SWEEP_STORE_URL", "", "SWEEP_STORE_URL is not set"),
        ("SWEEP_SHARD", "4", "SWEEP_SHARD is 4, but SWEEP_SHARDS is 4"),
        ("SWEEP_SHARD", "-1", "SWEEP_SHARD is -1: it must be 0 or more"),
        ("SWEEP_METADATA_URL", "169.254.169.254", "SWEEP_METADATA_URL is '169.254.169.254': it must be http://HOST"),
        ("SWEEP_METADATA_URL", "http://host:no", "SWEEP_METADATA_URL is 'http://host:no': it must be http://HOST"),
        ("SWEEP_SHARDS", "0", "SWEEP_SHARDS is 0: it must be 1 or more"),
        ("SWEEP_ATTEMPT", "one", "SWEEP_ATTEMPT is 'one': it must be a whole number"),
        ("SWEEP_ATTEMPT", "", "SWEEP_ATTEMPT is not set"),
        ("SWEEP_INTERVAL", "10s", "SWEEP_INTERVAL is '10s': it must be a number of seconds"),
        ("SWEEP_INTERVAL", "0", "SWEEP_INTERVAL is '0': it must be more than 0"),
        ("SWEEP_INTERVAL", "nan", "SWEEP_INTERVAL is 'nan': it must be more than 0"),
        ("SWEEP_CHECKPOINT_FILE", "../x", "SWEEP_CHECKPOINT_FILE is '../x'"),
        ("SWEEP_CHECKPOINT_FILE", "/x", "SWEEP_CHECKPOINT_FILE is '/x'"),
        ("SWEEP_ALLOW_DRIFT", "Images,Seed", "SWEEP_ALLOW_DRIFT names Seed: it may name Program, Images"),
        ("SWEEP_FLUSH_TIMEOUT", "5m", "SWEEP_FLUSH_TIMEOUT is '5m': it must be a number of seconds"),
        ("SWEEP_COMMIT", "a\n../b", "SWEEP_COMMIT holds '../b': name paths inside the snapshot directory"),
        ("SWEEP_APPEND", "/log", "SWEEP_APPEND holds '/log': name paths inside the snapshot directory"),
        ("SWEEP_PROGRESS", "gmat", "SWEEP_PROGRESS is 'gmat': it must be one of Auto, Sweep, Mime, Gmat, None"),
        ("SWEEP_COMPLETION", "exit", "SWEEP_COMPLETION is 'exit': it must be Recorded or ExitCode, or empty"),
        ("SWEEP_STOP_PATH", "stop", "SWEEP_STOP_PATH is 'stop': it must start with /"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        AttemptSettings.from_environment({**COMPLETE, name: value})
