"""Records that are to be in the store, with a sidecar played by hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resumable_sweep import NotDurable, ResumableSweep
from resumable_sweep.contract.acknowledgement import Acknowledgement, Durable, acknowledgement_path, requests_path
from resumable_sweep.contract.log_format import completion_of, entries_of
from resumable_sweep.contract.manifest import sha256_of_file


class Sidecar:
    """Acknowledges what it finds of the log, whenever it is asked for a look; what it has "stored" is in `stored`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "results.jsonl"
        self.stored = b""
        self.generation = 0
        self.asked = threading.Event()
        self.goes_on = True
        self.stopped, self.refused = "", ""
        acknowledgement_path(folder).parent.mkdir(parents=True)
        self.write({}, 0)

    def write(self, files: dict[str, Durable], requests: int) -> None:
        said = Acknowledgement(
            attempt=1, generation=self.generation, files=files, requests=requests, stopped=self.stopped,
            refused=self.refused, message="so it is",
        )  # fmt: skip
        path = acknowledgement_path(self.folder)
        path.with_name("next").write_text(said.to_json())
        path.with_name("next").replace(path)

    def look(self) -> None:
        requests = requests_path(self.folder).stat().st_size
        self.asked.set()
        if not self.goes_on:
            return
        if not (self.stopped or self.refused):
            self.stored = self.log.read_bytes()
            (self.folder / ".sweep" / "copy").write_bytes(self.stored)
            self.generation += 1
        digest, size = sha256_of_file(self.folder / ".sweep" / "copy") if self.stored else ("", 0)
        self.write({"results.jsonl": Durable(size, digest)} if self.stored else {}, requests)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    played = Sidecar(tmp_path)
    over = threading.Event()

    def play() -> None:
        seen = 0
        while not over.wait(0.002):
            path = requests_path(tmp_path)
            size = path.stat().st_size if path.exists() else 0
            if size > seen:
                seen = size
                played.look()

    thread = threading.Thread(target=play)
    thread.start()
    yield played
    over.set()
    thread.join()


@contextmanager
def signalled(after: threading.Event) -> Iterator[None]:
    """Send this process a SIGTERM once `after` is set."""

    def send() -> None:
        assert after.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def sweep_in(folder: Path, **parameters: float) -> ResumableSweep:
    return ResumableSweep(range(3), snapshot_dir=folder, **parameters)  # type: ignore[arg-type]


def stored_keys(sidecar: Sidecar) -> list[str]:
    return [entry["key"] for entry in entries_of(sidecar.stored) if entry["kind"] == "done"]


@pytest.mark.parametrize("every", [None, 100])
def test_a_durable_record_is_in_the_store_when_it_returns(sidecar: Sidecar, every: int | None) -> None:
    with ResumableSweep(range(3), snapshot_dir=sidecar.folder, checkpoint_every=every) as sweep:
        sweep.record(0, "first")
        sweep.record(1, "second", durable=True)
        assert stored_keys(sidecar) == ["0", "1"]
        sweep.record(2, "third")
        sweep.barrier()
        assert stored_keys(sidecar) == ["0", "1", "2"]
    assert completion_of(list(entries_of(sidecar.stored))) is not None
    assert sidecar.stored == sidecar.log.read_bytes()


def test_the_block_of_an_unfinished_sweep_ends_without_waiting(sidecar: Sidecar) -> None:
    sidecar.goes_on = False
    with sweep_in(sidecar.folder) as sweep:
        sweep.record(0, 0)
    assert not sidecar.asked.is_set()


@pytest.mark.parametrize(
    ("strike", "says"),
    [
        (lambda sidecar: setattr(sidecar, "goes_on", False), r"after 0\.\d s not yet in the store"),
        (lambda sidecar: setattr(sidecar, "stopped", "Superseded"), "another attempt has taken over"),
        (lambda sidecar: setattr(sidecar, "refused", "Shrunk"), "must not store it, Shrunk: so it is"),
    ],
    ids=["silent", "superseded", "refused"],
)
def test_what_is_not_acknowledged_is_said_and_recorded_all_the_same(
    sidecar: Sidecar, strike: Callable[[Sidecar], None], says: str
) -> None:
    strike(sidecar)
    with sweep_in(sidecar.folder, durable_timeout=0.2) as sweep:
        with pytest.raises(NotDurable, match=says):
            sweep.record(0, "kept", durable=True)
        with pytest.raises(NotDurable, match=says):
            sweep.barrier(0.2)
        assert [result for _, result in sweep.results()] == ["kept"]
        assert sweep.find_failed() == []
    with sweep_in(sidecar.folder) as sweep:
        assert sweep.completed == ["kept"]
        assert list(sweep.pending) == [1, 2]


def test_who_is_asked_to_stop_while_waiting_for_a_record_leaves_as_asked(sidecar: Sidecar) -> None:
    sidecar.goes_on = False

    def program() -> None:
        with sweep_in(sidecar.folder) as sweep:
            for item in sweep.pending:
                sweep.record(item, item, durable=True)

    with signalled(sidecar.asked), pytest.raises(SystemExit) as caught:
        program()
    assert caught.value.code == 143
    with sweep_in(sidecar.folder) as sweep:
        assert sweep.completed == [0]
        assert sweep.find_failed() == []


def test_who_is_asked_to_stop_while_waiting_for_the_end_is_complete_and_leaves_as_asked(sidecar: Sidecar) -> None:
    sidecar.goes_on = False

    def program() -> None:
        with sweep_in(sidecar.folder) as sweep:
            for item in sweep.pending:
                sweep.record(item, item)

    with signalled(sidecar.asked), pytest.raises(SystemExit) as caught:
        program()
    assert caught.value.code == 143
    assert completion_of(list(entries_of(sidecar.log.read_bytes()))) is not None
    sidecar.goes_on = True
    before = sidecar.log.read_bytes()
    program()
    assert sidecar.log.read_bytes() == before == sidecar.stored
