"""What every store must do, as tests: a backend's test file subclasses this and gives it a `store` and an `again`."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sweep_sidecar.store import Creation, Listed, NotFound, Store, prove_create_only

RACERS = 6
RACES = 20


class StoreConformance:
    """`again` opens the same folder once more, as another process would."""

    def test_gives_back_what_was_created(self, store: Store) -> None:
        assert store.create("a/b.json", b"content") is Creation.CREATED
        assert store.get("a/b.json") == b"content"

    def test_creates_an_empty_object(self, store: Store) -> None:
        assert store.create("empty", b"") is Creation.CREATED
        assert store.get("empty") == b""

    def test_keeps_every_byte(self, store: Store) -> None:
        data = bytes(range(256)) + b"\r\n--==0==--\r\n\n--==0==\x00" + "\u2028é".encode()
        store.create("bytes", data)
        assert store.get("bytes") == data

    def test_keeps_names_that_urls_would_change(self, store: Store) -> None:
        keys = ["a b/&<>\"'.json", "a b/c#d?e=f&g%2Fh+é.json", "a b/~$!@^*(),;:[]{}|`=.json"]
        for key in keys:
            assert store.create(key, key.encode()) is Creation.CREATED
            assert store.create(key, b"other") is Creation.EXISTS
            assert store.get(key) == key.encode()
        assert [found.key for found in store.list("a b/")] == sorted(keys)
        store.delete(keys[0])
        assert [found.key for found in store.list("a b/")] == sorted(keys[1:])

    def test_takes_a_blob_of_eight_mebibytes(self, store: Store, again: Callable[[], Store]) -> None:
        data = bytes(8 << 20)
        assert store.create("blobs/x", data) is Creation.CREATED
        assert again().get("blobs/x") == data

    def test_never_changes_what_is_there(self, store: Store, again: Callable[[], Store]) -> None:
        store.create("key", b"first")
        assert again().create("key", b"other") is Creation.EXISTS
        assert store.get("key") == b"first"

    def test_takes_the_same_bytes_for_its_own_write(self, store: Store, again: Callable[[], Store]) -> None:
        """The reply to a create may be lost; whoever asks again with the same bytes has written them."""
        store.create("key", b"same")
        assert again().create("key", b"same") is Creation.CREATED

    def test_tells_content_of_equal_length_apart(self, store: Store) -> None:
        store.create("key", b"one")
        assert store.create("key", b"two") is Creation.EXISTS

    def test_reads_a_range(self, store: Store) -> None:
        store.create("key", b"0123456789")
        assert store.get("key", start=2, end=5) == b"234"
        assert store.get("key", start=7) == b"789"
        assert store.get("key", end=3) == b"012"
        assert store.get("key", start=4, end=4) == b""
        assert store.get("key", start=8, end=100) == b"89"
        assert store.get("key", start=10) == b""
        assert store.get("key", start=100, end=200) == b""

    def test_says_what_is_not_there(self, store: Store) -> None:
        store.create("there", b"x")
        with pytest.raises(NotFound, match="not-there"):
            store.get("not-there")

    def test_lists_by_prefix_in_order_with_sizes(self, store: Store) -> None:
        for number in (3, 1, 2):
            store.create(f"log/{number}", b"x" * number)
        store.create("logs", b"")
        store.create("other/1", b"")
        assert store.list("log/") == [Listed(f"log/{number}", number, modified=0) for number in (1, 2, 3)]
        assert [found.key for found in store.list("log")] == ["log/1", "log/2", "log/3", "logs"]

    def test_says_by_one_clock_when_each_object_came(self, store: Store, again: Callable[[], Store]) -> None:
        """Retention compares these times with each other; servers tell whole seconds."""
        store.create("b", b"first")
        first = store.list("b")[0].modified
        while store.list("", limit=1)[0].modified <= first + 1:
            store.delete("a")
            again().create("a", b"second")
        assert store.create("b", b"first") is Creation.CREATED
        assert store.list("b")[0].modified == first

    def test_lists_the_first_few(self, store: Store) -> None:
        for number in range(5):
            store.create(f"log/{number}", b"")
        assert [found.key for found in store.list("log/", limit=2)] == ["log/0", "log/1"]

    def test_lists_nothing_where_nobody_has_written(self, store: Store) -> None:
        assert store.list("nothing/here/") == []

    def test_lists_what_another_has_just_written(self, store: Store, again: Callable[[], Store]) -> None:
        """A listing that were cached would hide a successor's take."""
        other = again()
        for number in range(3):
            assert len(store.list("log/")) == number
            other.create(f"log/{number}", b"")

    def test_deletes_and_is_content_where_nothing_is(self, store: Store, again: Callable[[], Store]) -> None:
        for key in ("log/1", "log/2"):
            store.create(key, b"x")
        store.delete("log/1")
        store.delete("log/1")
        store.delete("never/there")
        assert [found.key for found in again().list("log/")] == ["log/2"]
        with pytest.raises(NotFound):
            again().get("log/1")
        assert store.create("log/1", b"anew") is Creation.CREATED

    def test_has_one_winner_however_many_race(self, again: Callable[[], Store]) -> None:
        stores = [again() for _ in range(RACERS)]
        for race in range(RACES):
            start = threading.Barrier(RACERS)
            outcomes: list[Creation | BaseException | None] = [None] * RACERS

            def create(
                racer: int,
                race: int = race,
                start: threading.Barrier = start,
                outcomes: list = outcomes,  # type: ignore[type-arg]
            ) -> None:
                start.wait()
                try:
                    outcomes[racer] = stores[racer].create(f"slot/{race}", f"racer {racer}".encode())
                except BaseException as error:
                    outcomes[racer] = error

            threads = [threading.Thread(target=create, args=(racer,)) for racer in range(RACERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert outcomes.count(Creation.CREATED) == 1, outcomes
            assert outcomes.count(Creation.EXISTS) == RACERS - 1, outcomes
            assert stores[0].get(f"slot/{race}") == f"racer {outcomes.index(Creation.CREATED)}".encode()

    def test_passes_the_probe_again_and_again(self, store: Store) -> None:
        for number in range(3):
            prove_create_only(store, key="probe", nonce=str(number))
