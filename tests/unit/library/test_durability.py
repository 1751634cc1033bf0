from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resumable_sweep._durability import POLL_S, Acknowledgements, NotDurable
from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    Durable,
    acknowledgement_path,
    requests_path,
)

NOTHING = Acknowledgement(attempt=1, generation=None)


def never() -> bool:
    return False


def silence(text: str) -> None:
    raise AssertionError(f"nothing is to be said: {text}")


class Mirror:
    """Stands for the sidecar, on a clock of its own: `at_poll` is called once for each time the library sleeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.polls: Iterator[Callable[[], object]] = iter(())
        self.slept: list[float] = []
        self.acknowledgements = Acknowledgements(folder, clock=lambda: self.now, sleep=self._sleep)
        self.log = folder / "results.jsonl"

    def write(self, said: Acknowledgement) -> None:
        path = acknowledgement_path(self.folder)
        path.parent.mkdir(exist_ok=True)
        staged = path.with_name("ack.json.tmp")
        staged.write_text(said.to_json())
        staged.replace(path)

    def requests(self) -> int:
        path = requests_path(self.folder)
        return path.stat().st_size if path.exists() else 0

    def store(self, generation: int, **sizes: int) -> None:
        """Say that a look which has just begun and ended brought these sizes into the store."""
        files = {f"{name}.jsonl": Durable(size, f"sha-{size}") for name, size in sizes.items()}
        self.write(replace(NOTHING, generation=generation, files=files, requests=self.requests()))

    def then(self, *steps: Callable[[], object]) -> None:
        self.polls = iter(steps)

    def wait(self, size_bytes: int, **options: object) -> None:
        given: dict[str, object] = {"timeout_s": None, "stop": never, "report": silence, **options}
        self.acknowledgements.wait(self.log, size_bytes, **given)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        step = next(self.polls, None)
        assert step is not None, "the library waits although all that was to happen has happened"
        step()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    mirror = Mirror(tmp_path)
    mirror.write(NOTHING)
    return mirror


def test_without_a_sidecar_nobody_waits(tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "missing"):
        alone = Acknowledgements(folder)
        assert not alone.there
        assert alone.generation == -1
        alone.wait(tmp_path / "results.jsonl", 10, timeout_s=None, stop=never, report=silence)
    assert not requests_path(tmp_path).exists()


def test_a_wait_ends_with_the_generation_that_covers_it(mirror: Mirror) -> None:
    assert mirror.acknowledgements.there
    mirror.then(
        lambda: mirror.store(3, other=500),
        lambda: mirror.store(4, results=99),
        lambda: mirror.store(5, results=100),
    )
    mirror.wait(100)
    assert len(mirror.slept) == 3
    assert max(mirror.slept) <= POLL_S
    assert mirror.acknowledgements.generation == 5


def test_what_is_known_to_be_stored_is_not_asked_for_again(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=100))
    mirror.wait(100)
    asked = mirror.requests()
    mirror.wait(100)
    mirror.wait(40)
    assert mirror.requests() == asked
    mirror.then(lambda: mirror.store(5, results=120))
    mirror.wait(101)
    assert mirror.requests() == asked + 1


def test_what_an_earlier_process_had_stored_does_not_count_before_a_new_look(mirror: Mirror) -> None:
    mirror.store(4, results=900)  # the log of before, which this process found damaged and wrote anew, shorter
    mirror.then(
        # A look that began before the request, and ends only now.
        lambda: mirror.write(replace(NOTHING, generation=5, files={"results.jsonl": Durable(900, "")}, requests=0)),
        lambda: mirror.store(6, results=100),
    )
    mirror.wait(100)
    assert len(mirror.slept) == 2


def test_a_look_that_found_nothing_new_counts_as_well(mirror: Mirror) -> None:
    mirror.store(4, results=100)
    mirror.then(lambda: mirror.store(4, results=100))
    mirror.wait(100)
    assert len(mirror.slept) == 1


def test_after_a_rewriting_an_older_generation_does_not_count(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=900))
    mirror.wait(900)
    rewritten_at = mirror.acknowledgements.generation
    mirror.then(lambda: mirror.store(5, results=50), lambda: mirror.store(6, results=100))
    mirror.wait(100, after_generation=rewritten_at)
    assert len(mirror.slept) == 3
    mirror.wait(100, after_generation=rewritten_at)
    assert len(mirror.slept) == 3


def test_a_file_that_is_replaced_is_known_by_its_digest(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=100))
    mirror.wait(100, sha256="sha-100")
    mirror.then(lambda: mirror.store(5, results=100), lambda: mirror.store(6, results=101))
    mirror.wait(100, sha256="sha-101")
    assert len(mirror.slept) == 3


def test_each_wait_asks_for_a_look_once(mirror: Mirror) -> None:
    mirror.then(*[lambda: None] * 5, lambda: mirror.store(4, results=10))
    mirror.wait(10)
    assert mirror.requests() == 1


def test_a_torn_or_missing_acknowledgement_is_none_yet(mirror: Mirror) -> None:
    path = acknowledgement_path(mirror.folder)
    mirror.then(
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b'{"schema_version": 1, "att'),
        path.unlink,
        lambda: mirror.store(4, results=10),
    )
    mirror.wait(10)
    assert len(mirror.slept) == 4


def test_to_wipe_the_directory_makes_nothing_durable(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=10))
    mirror.wait(10)
    shutil.rmtree(acknowledgement_path(mirror.folder).parent)
    assert not mirror.acknowledgements.there
    mirror.wait(10)
    with pytest.raises(NotDurable, match="cannot be asked to store it"):
        mirror.wait(11)


def test_an_acknowledgement_that_looks_unchanged_is_read_again_in_time(mirror: Mirror) -> None:
    path = acknowledgement_path(mirror.folder)
    mirror.store(4, results=10)

    def replace_unseen() -> None:
        before = path.stat()
        text = path.read_text().replace('"requests": 0', '"requests": 1')
        with path.open("r+") as file:
            file.write(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    mirror.then(replace_unseen, *[lambda: None] * 30)
    mirror.wait(10)
    assert len(mirror.slept) * POLL_S < 1.2


def test_the_limit_is_kept(mirror: Mirror) -> None:
    mirror.then(*[lambda: None] * 100)
    with pytest.raises(
        NotDurable, match=r"results.jsonl, up to byte 10, is on disk, but after 2.0 s not yet"
    ) as caught:
        mirror.wait(10, timeout_s=2.0)
    assert isinstance(caught.value, TimeoutError)
    assert mirror.now == pytest.approx(1002.0)


def test_a_stop_ends_the_wait(mirror: Mirror) -> None:
    stopping = threading.Event()
    mirror.then(lambda: None, stopping.set)
    with pytest.raises(NotDurable, match="not yet in the store, and the sweep is asked to stop"):
        mirror.wait(10, stop=stopping.is_set)
    assert len(mirror.slept) == 2


def test_what_is_stored_already_is_durable_even_if_a_stop_is_asked_for(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=10))
    mirror.wait(10)
    mirror.wait(10, stop=lambda: True)


def test_a_long_wait_says_so_and_why(mirror: Mirror) -> None:
    said: list[str] = []
    mirror.write(replace(NOTHING, message="bucket sweeps: 503"))
    mirror.then(*[lambda: None] * round(70 / POLL_S), lambda: mirror.store(4, results=10))
    mirror.wait(10, report=said.append)
    assert [text.partition("waiting for ")[2] for text in said] == [
        "30 s: bucket sweeps: 503",
        "60 s: bucket sweeps: 503",
    ]


def test_a_superseded_attempt_learns_what_becomes_of_its_records(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.write(replace(NOTHING, stopped="Superseded", message="attempt 8 has taken the shard")))
    with pytest.raises(NotDurable, match=r"another attempt has taken over .*attempt 8.* run again there"):
        mirror.wait(10)


def test_what_was_stored_before_the_attempt_was_superseded_counts(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.store(4, results=10))
    mirror.wait(10)
    mirror.write(
        replace(NOTHING, generation=4, files={"results.jsonl": Durable(10, "")}, requests=1, stopped="Superseded")
    )
    mirror.wait(10)


def test_a_sidecar_that_has_stopped_says_why(mirror: Mirror) -> None:
    mirror.then(lambda: mirror.write(replace(NOTHING, stopped="CheckpointCorrupt", message="entry 4 is no entry")))
    with pytest.raises(NotDurable, match="stores nothing more, CheckpointCorrupt: entry 4 is no entry"):
        mirror.wait(10)


def test_a_refusal_ends_the_wait_only_if_its_look_has_seen_the_record(mirror: Mirror) -> None:
    refused = replace(NOTHING, refused="ProgressWentBackwards", message="2 items are missing")
    mirror.write(refused)  # of a look before: it says nothing of what was recorded since
    mirror.then(lambda: mirror.store(4, results=10))
    mirror.wait(10)
    mirror.then(lambda: None, lambda: mirror.write(replace(refused, requests=mirror.requests())))
    with pytest.raises(NotDurable, match="must not store it, ProgressWentBackwards: 2 items are missing"):
        mirror.wait(20)
    assert len(mirror.slept) == 3


def test_a_path_that_nobody_mirrors_is_refused(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> None:
    mirror.log = tmp_path_factory.mktemp("elsewhere") / "results.jsonl"
    with pytest.raises(NotDurable, match=r"is not in the snapshot directory .* checkpoint_path inside of it"):
        mirror.wait(10)


def test_the_directory_may_be_reached_by_a_link(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "snapshot"
    link.symlink_to(mirror.folder)
    mirror.log = link / "results.jsonl"
    mirror.then(lambda: mirror.store(4, results=10))
    mirror.wait(10)


def test_a_sidecar_that_cannot_be_asked_is_no_reason_to_wait_for_ever(mirror: Mirror) -> None:
    requests_path(mirror.folder).mkdir()
    with pytest.raises(NotDurable, match=r"cannot be asked to store it: .*Is a directory"):
        mirror.wait(10)


def test_a_newer_sidecar_is_named(mirror: Mirror) -> None:
    path = acknowledgement_path(mirror.folder)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(NotDurable, match="schema version 2"):
        mirror.wait(10)
