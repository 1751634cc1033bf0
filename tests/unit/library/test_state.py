"""Saving and loading one state: what comes back, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep import _state
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._remote import SourceUnreachable
from resumable_sweep._state import CheckpointFellBack, latest, load_state, save_state
from resumable_sweep._state_files import StateInvalid
from resumable_sweep._state_search import CheckpointDamaged, CheckpointTooNew
from resumable_sweep.contract.manifest import Manifest, manifest_path, sha256_of_file
from unit.library.state_cases import CASES, FOLDER, Case, content


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_state_comes_back_with_what_was_said_of_it(tmp_path: Path, case: Case) -> None:
    extra = {"step": numpy.int64(7), "loss": 0.1 + 0.2, "curve": [1, float("inf")], "name": "ü"}
    assert save_state(case.name, case.state(7), extra) == tmp_path / case.name
    loaded = load_state(case.name)
    assert loaded is not None
    assert case.read(loaded) == case.expected(7)
    assert loaded.extra == {**extra, "step": 7}
    assert loaded.path == tmp_path / case.name
    assert loaded.fell_back is None
    assert names() == [case.name, f"{case.name}.manifest.json"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_so_many_are_kept_as_was_asked_for(case: Case) -> None:
    for number in range(5):
        save_state(case.name, case.state(number), {"number": number}, keep=3)
    backups = [f"{case.name}.backup-3", f"{case.name}.backup-4"]
    assert names() == sorted([case.name, *backups, *(f"{name}.manifest.json" for name in (case.name, *backups))])
    for name, number in zip([*backups, case.name], (2, 3, 4), strict=True):
        loaded = load_state(name)
        assert loaded is not None
        assert case.read(loaded) == case.expected(number)
    save_state(case.name, case.state(5), keep=1)
    assert names() == [case.name, f"{case.name}.manifest.json"]


def test_equal_states_are_equal_files() -> None:
    for name in ("a.npz", "b.npz"):
        save_state(name, {"x": numpy.arange(9.0)})
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_what_is_not_there_is_a_fresh_start(tmp_path: Path) -> None:
    assert load_state("no.npz") is None
    assert load_state("no/folder/no.npz") is None
    assert load_state((tmp_path / "no").as_uri()) is None
    assert load_state() is None
    assert latest(".") is None
    assert latest("no-*.npz") is None


def test_an_empty_state_is_one() -> None:
    save_state("empty", b"")
    loaded = load_state("empty")
    assert loaded is not None
    assert loaded.read_bytes() == b""


def test_a_file_or_directory_that_is_there_already_is_copied(tmp_path: Path) -> None:
    FOLDER.state(3)(tmp_path / "written")
    save_state("folder", tmp_path / "written")
    save_state("file", tmp_path / "written" / "meta.json")
    (tmp_path / "written" / "meta.json").write_text("changed later")
    folder, file = load_state("folder"), load_state("file")
    assert folder is not None
    assert file is not None
    assert FOLDER.read(folder) == FOLDER.expected(3)
    assert file.read_bytes() == content(3)


def test_a_directory_may_take_the_place_of_a_file_and_the_other_way_round() -> None:
    for number, state in enumerate([b"first", FOLDER.state(1), b"second"]):
        save_state("it", state, {"number": number}, keep=3)
    for name, number in (("it", 2), ("it.backup-2", 1), ("it.backup-1", 0)):
        loaded = load_state(name)
        assert loaded is not None
        assert loaded.extra == {"number": number}


def test_what_was_there_without_a_manifest_is_loaded_and_kept() -> None:
    Path("model.pt").write_bytes(b"from before")
    loaded = load_state("model.pt")
    assert loaded is not None
    assert (loaded.manifest, loaded.extra, loaded.read_bytes()) == (None, {}, b"from before")
    save_state("model.pt", b"now")
    backup = load_state("model.pt.backup-1")
    assert backup is not None
    assert backup.manifest is not None
    assert backup.read_bytes() == b"from before"


def test_an_archive_without_a_manifest_is_held_against_its_own_checksums() -> None:
    numpy.savez("theirs.npz", x=numpy.arange(100))
    loaded = load_state("theirs.npz")
    assert loaded is not None
    assert loaded.arrays()["x"].tolist() == list(range(100))
    data = bytearray(Path("theirs.npz").read_bytes())
    data[300] ^= 1
    for damaged in (bytes(data), bytes(data[:400])):
        Path("theirs.npz").write_bytes(damaged)
        with pytest.raises(CheckpointDamaged, match=r"theirs.npz is not whole: it has no manifest, and"):
            load_state("theirs.npz")


def test_a_manifest_of_another_program_is_read() -> None:
    numpy.savez("theirs.npz", **{"node/field": numpy.ones(3)})
    sha256, size = sha256_of_file(Path("theirs.npz"))
    extra = {"sim_time": 1.5, "commit": None}
    fields = {"schema_version": 1, "sha256": sha256, "size_bytes": size, "extra": extra}
    manifest_path(Path("theirs.npz")).write_text(json.dumps(fields, indent=2))
    loaded = load_state("theirs.npz")
    assert loaded is not None
    assert loaded.extra == extra
    assert loaded.nested_arrays()["node"]["field"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("version", [0, 2])
def test_another_schema_version_is_refused_whatever_older_ones_there_are(version: int) -> None:
    for data in (b"old", b"new"):
        save_state("it", data)
    sha256, size = sha256_of_file(Path("it"))
    text = Manifest(sha256, size, schema_version=version).to_json()
    manifest_path(Path("it")).write_text(text)
    before = names()
    for action in (lambda: load_state("it"), lambda: save_state("it", b"newer"), lambda: latest(".")):
        with pytest.raises(CheckpointTooNew, match=rf"it cannot be read: its manifest has schema version {version}"):
            action()
    assert names() == before
    assert Path("it").read_bytes() == b"new"


def test_one_that_is_gone_is_replaced_by_its_newest_backup(tmp_path: Path) -> None:
    for number in range(3):
        save_state("it", content(number), keep=3)
    Path("it").unlink()
    Path("it.backup-2").write_bytes(b"damaged too")
    with pytest.warns(CheckpointFellBack, match="it is not there.*going on from the older it.backup-1"):
        loaded = load_state("it")
    assert loaded is not None
    assert loaded.fell_back is not None
    assert (loaded.fell_back.source, loaded.fell_back.kept_as) == (tmp_path / "it", None)
    assert loaded.read_bytes() == content(0)


@pytest.mark.parametrize("code", ["EROFS", "EACCES"])
def test_where_nothing_can_be_written_the_damaged_one_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    import errno

    save_state("it", b"old")
    save_state("it", b"new")
    Path("it").write_bytes(b"bad")

    def refuse(*_: Any) -> None:
        raise OSError(getattr(errno, code), code)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.warns(CheckpointFellBack):
            loaded = load_state("it")
    assert loaded is not None
    assert loaded.fell_back is not None
    assert loaded.fell_back.kept_as is None
    assert loaded.read_bytes() == b"old"
    assert Path("it").read_bytes() == b"bad"


def test_one_that_is_replaced_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    save_state("it", b"old", keep=1)
    from resumable_sweep import _state_search

    really = _state_search.fault_of
    interfered = []

    def fault_of(path: Path, manifest: Manifest) -> str | None:
        if not interfered:
            interfered.append(True)
            save_state("it", b"new", keep=1)
        return really(path, manifest)

    monkeypatch.setattr(_state_search, "fault_of", fault_of)
    loaded = load_state("it")
    assert interfered
    assert loaded is not None
    assert (loaded.read_bytes(), loaded.fell_back) == (b"new", None)


def test_what_cannot_be_read_is_no_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    save_state("it", b"state")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        load_state("it")


class TestNewestOfSeveral:
    def test_by_the_numbers_in_their_names(self, tmp_path: Path) -> None:
        for step in (9, 10, 100):
            save_state(f"run/step-{step}.bin", content(step))
            os.utime(f"run/step-{step}.bin", (2000 - step, 2000 - step))
        save_state("run/step-100.bin", content(101))  # has a backup now
        Path("run/notes-999.txt").write_text("no checkpoint: it has no manifest")
        assert latest("run") == latest("run/*.bin") == tmp_path / "run" / "step-100.bin"

    def test_a_damaged_one_is_passed_over(self, tmp_path: Path) -> None:
        for step in (1, 2):
            save_state(f"step-{step}.bin", content(step), keep=1)
        Path("step-2.bin").write_bytes(b"bad")
        with pytest.warns(CheckpointFellBack, match=r"step-2.bin is not whole.*Going on from the older step-1.bin"):
            assert latest(".") == tmp_path / "step-1.bin"
        Path("step-1.bin").write_bytes(b"bad")
        with pytest.raises(CheckpointDamaged, match=r"step-2.bin is not whole"):
            latest(".")

    def test_one_with_a_good_backup_counts(self, tmp_path: Path) -> None:
        save_state("step-1.bin", b"1")
        for data in (b"2", b"2 again"):
            save_state("step-2.bin", data)
        Path("step-2.bin").write_bytes(b"bad")
        newest = latest(".")
        assert newest == tmp_path / "step-2.bin"
        with pytest.warns(CheckpointFellBack):
            loaded = load_state(newest)
        assert loaded is not None
        assert loaded.read_bytes() == b"2"

    def test_a_directory_that_is_a_checkpoint_is_one(self, tmp_path: Path) -> None:
        save_state("run/step-3", FOLDER.state(3))
        assert latest("run") == latest("run/step-3") == tmp_path / "run" / "step-3"


class TestInAPod:
    @pytest.fixture(autouse=True)
    def pod(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SWEEP_SNAPSHOT_DIR", str(tmp_path / "saved"))

    def test_relative_paths_are_those_in_the_snapshot_directory(self, tmp_path: Path) -> None:
        assert save_state("run/it", b"state") == tmp_path / "saved" / "run" / "it"
        assert load_state("run/it") is not None
        assert latest("run") == tmp_path / "saved" / "run" / "it"

    def test_nothing_is_saved_where_nothing_would_outlive_the_pod(self, tmp_path: Path) -> None:
        for path in (tmp_path / "it", "../it"):
            with pytest.raises(SettingsInvalid, match="outside of the snapshot directory"):
                save_state(path, b"state")

    def test_the_environment_says_what_to_resume_from(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_state("it", b"state")
        monkeypatch.setenv("SWEEP_RESUME_FROM", f"file://{tmp_path}/saved/it")
        loaded = load_state()
        assert loaded is not None
        assert loaded.read_bytes() == b"state"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server of this test's folder."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


class TestFromAfar:
    def test_it_comes_with_its_manifest_and_goes_with_the_object(self, server: str) -> None:
        save_state("it.npz", {"x": numpy.arange(4)}, {"step": 3})
        loaded = load_state(f"{server}/it.npz")
        assert loaded is not None
        assert loaded.extra == {"step": 3}
        assert loaded.arrays()["x"].tolist() == [0, 1, 2, 3]
        path = loaded.path
        del loaded
        assert not path.parent.exists()

    def test_missing_is_a_fresh_start_and_unreachable_is_not(self, server: str) -> None:
        assert load_state(f"{server}/it.npz") is None
        pauses: list[float] = []
        with pytest.raises(SourceUnreachable):
            load_state("http://127.0.0.1:1/it.npz", pause=pauses.append)
        assert pauses

    def test_damaged_is_refused_after_a_second_look(self, server: str) -> None:
        save_state("it", b"state")
        Path("it").write_bytes(b"other")
        pauses: list[float] = []
        with pytest.raises(CheckpointDamaged, match=f"{server}/it is not whole: its SHA-256 is"):
            load_state(f"{server}/it", pause=pauses.append)
        assert pauses == [1.0]

    def test_one_that_was_being_replaced_is_fetched_again(self, server: str) -> None:
        save_state("it", b"state")
        Path("it").write_bytes(b"other")
        loaded = load_state(f"{server}/it", pause=lambda _: Path("it").write_bytes(b"state"))
        assert loaded is not None
        assert loaded.read_bytes() == b"state"


def write_elsewhere(path: Path) -> None:
    path.with_suffix(".npz").write_text("numpy.savez does so")


@pytest.mark.parametrize(
    ("name", "state", "more", "match"),
    [
        ("it", "text", {}, "a state is bytes, a mapping of arrays, a Path, or a function.* not 'text'"),
        ("it", 3, {}, "not 3"),
        ("it", b"", {"keep": 0}, "keep=0 must be a whole number of 1 or more"),
        ("it", b"", {"extra": {"a": object()}}, "extra cannot be kept: JSON has no form for a object"),
        ("it", b"", {"extra": {"a": numpy.arange(3)}}, "JSON has no form for a ndarray"),
        (".it", b"", {}, "'.it' is a name that mirrors take for something else"),
        ("it.manifest.json", b"", {}, "choose another"),
        ("it", write_elsewhere, {}, r"one file or directory, 'it', and wrote \['it.npz'\]"),
        ("it", lambda path: None, {}, r"and wrote \[\]"),
        ("folder", b"", {}, "folder is a folder and no checkpoint: give the name of a checkpoint inside of it"),
        ("folder/it", Path("folder"), {}, "lies where its checkpoint is to be"),
        ("it", Path("links"), {}, "links/link is neither a file nor a directory"),
    ],
)
def test_what_cannot_be_saved_is_told_and_changes_nothing(
    name: str, state: Any, more: dict[str, Any], match: str
) -> None:
    Path("folder").mkdir()
    Path("links").mkdir()
    Path("links/link").symlink_to("nowhere")
    before = names()
    with pytest.raises(StateInvalid, match=match):
        save_state(name, state, **more)
    assert names() == before


def test_what_a_process_that_runs_is_making_is_left_alone() -> None:
    Path(f".it.tmp.{os.getppid()}").mkdir()
    Path(f".it.tmp.{os.getpid()}").mkdir()
    Path(f".it.manifest.json.tmp.{10**9}").write_text("of one that is no more")
    Path(f".it.npz.tmp.{os.getpid()}").write_text("of another checkpoint")
    save_state("it", b"")
    assert names() == sorted([f".it.npz.tmp.{os.getpid()}", f".it.tmp.{os.getppid()}", "it", "it.manifest.json"])


def test_a_file_system_without_links_gets_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(3):
        save_state("it", content(number), {"number": number})
    loaded = load_state("it.backup-2")
    assert loaded is not None
    assert (loaded.extra, loaded.read_bytes()) == ({"number": 1}, content(1))


def test_the_former_one_is_read_once_a_process_and_not_at_every_save(monkeypatch: pytest.MonkeyPatch) -> None:
    save_state("it", b"0")
    _state._verified.clear()
    looks: list[Path] = []
    really = _state.look
    monkeypatch.setattr(_state, "look", lambda path: (looks.append(path), really(path))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            save_state("it", b"1")
    assert len(looks) == 1
