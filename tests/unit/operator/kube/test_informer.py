from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_api import FakeApi

from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer

GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


class EndOfPlay(Exception):
    """The informer pauses more often than the test has foreseen."""


class Play:
    """An informer of words, the changes it has told of, and the pauses it has made."""

    def __init__(self, *, pauses: int) -> None:
        self.api = FakeApi()
        self.changes: list[tuple[str | None, str | None]] = []
        self.pauses: list[float] = []
        self.recoveries = 0
        self.failures: list[int] = []
        self._left = pauses
        self.informer: Informer[str] = Informer(
            self.api,  # type: ignore[arg-type]
            "/words",
            project=lambda entry: entry.get("word"),
            changed=lambda old, new: self.changes.append((old, new)),
            recovered=self._recover,
            failed=self.failures.append,
            sleep=self._sleep,
        )

    def _recover(self) -> None:
        self.recoveries += 1

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) > self._left:
            raise EndOfPlay

    async def run(self) -> None:
        """Let it go on until it waits for a watch, or has paused too often."""
        try:
            async with asyncio.timeout(0.05):
                await self.informer.run()
        except (TimeoutError, EndOfPlay):
            pass

    @property
    def words(self) -> set[str]:
        return set(self.informer.values())


def entry(name: str, word: str | None, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version)}, "word": word}


def page(*entries: dict[str, Any], version: int = 10, token: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": token}, "items": list(entries)}


def event(kind: str, *args: Any) -> dict[str, Any]:
    return {"type": kind, "object": entry(*args)}


@pytest.fixture
def play() -> Play:
    return Play(pauses=0)


async def test_all_pages_are_listed_before_it_counts_as_synced(play: Play) -> None:
    play.api.lists = [page(entry("a", "x"), token="more"), page(entry("b", "y"))]
    assert not play.informer.synced
    await play.run()
    assert play.words == {"x", "y"}
    assert play.informer.synced
    assert play.informer.get("ns", "a") == "x"


async def test_a_watch_goes_on_from_where_the_list_was_and_then_from_the_last_event() -> None:
    play = Play(pauses=1)
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
    play.api.lists = [page(entry("a", "x"), version=10)]
    play.api.watches = [[event("ADDED", "b", "y", 11), bookmark], []]
    await play.run()
    assert play.words == {"x", "y"}
    assert play.api.watched_from == ["10", "20", "20"]
    assert play.informer.version == 20
    assert play.changes == [(None, "x"), (None, "y")]


async def test_changes_are_told_with_what_was_before(play: Play) -> None:
    play.api.lists = [page(entry("a", "x"))]
    play.api.watches = [[event("MODIFIED", "a", "y"), event("MODIFIED", "a", "y"), event("DELETED", "a", "z")]]
    await play.run()
    assert play.changes == [(None, "x"), ("x", "y"), ("y", None)]


async def test_an_object_that_is_none_of_ours_any_more_is_dropped(play: Play) -> None:
    play.api.lists = [page(entry("a", "x"), entry("b", None))]
    play.api.watches = [[event("MODIFIED", "a", None)]]
    await play.run()
    assert play.changes == [(None, "x"), ("x", None)]


async def test_a_relist_tells_of_what_vanished_meanwhile() -> None:
    play = Play(pauses=1)
    play.api.lists = [page(entry("a", "x"), entry("b", "y")), page(entry("b", "y"), entry("c", "z"))]
    play.api.watches = [[GONE]]
    await play.run()
    assert play.pauses == [0]
    assert play.changes == [(None, "x"), (None, "y"), (None, "z"), ("x", None)]


async def test_a_watch_that_fails_again_and_again_is_not_listed_for_without_end() -> None:
    play = Play(pauses=6)
    play.api.lists = [page() for _ in range(7)]
    play.api.watches = [[GONE] for _ in range(7)]
    await play.run()
    assert play.pauses[0] == 0
    assert play.pauses[1:] == sorted(play.pauses[1:])
    assert play.pauses[-1] > 5


async def test_watches_that_end_as_soon_as_they_begin_are_not_opened_without_end() -> None:
    play = Play(pauses=2)
    play.api.lists = [page()]
    play.api.watches = [[] for _ in range(9)]
    await play.run()
    assert play.pauses == pytest.approx([1, 1, 1], abs=0.1)
    assert play.api.watched_from == ["10"] * 3


async def test_a_watch_that_has_brought_something_is_opened_again_at_once(play: Play) -> None:
    play.api.lists = [page()]
    play.api.watches = [[event("ADDED", "a", "x", 11)], [event("MODIFIED", "a", "y", 12)]]
    await play.run()
    assert (play.pauses, play.api.watched_from) == ([], ["10", "11", "12"])


async def test_news_forgive_failures() -> None:
    play = Play(pauses=3)
    play.api.lists = [page() for _ in range(4)]
    play.api.watches = [[event("ADDED", "a", "x"), ApiError(0, "cut off")] for _ in range(4)]
    await play.run()
    assert max(play.pauses) <= 0.4


async def test_what_may_not_be_read_is_synced_and_said_to_be_forbidden() -> None:
    play = Play(pauses=1)
    play.api.lists = [ApiError(403, "nodes is forbidden"), page(entry("a", "x"))]
    await play.run()
    assert play.pauses[0] == 60
    assert play.informer.synced
    assert not play.informer.forbidden, "it was allowed the second time"
    forbidden = Play(pauses=0)
    forbidden.api.lists = [ApiError(403, "nodes is forbidden")]
    await forbidden.run()
    assert forbidden.informer.forbidden


async def test_the_server_may_ask_for_patience() -> None:
    play = Play(pauses=0)
    play.api.lists = [ApiError(429, "slow down", retry_after=17)]
    await play.run()
    assert play.pauses == [17]
    assert not play.informer.synced


async def test_who_does_not_answer_is_asked_often_enough_to_be_noticed_when_he_is_back() -> None:
    play = Play(pauses=12)
    play.api.lists = [page(entry("a", "x"))]
    play.api.watches = [[ApiError(0, "connection reset")]]
    play.api.lists += [ApiError(0, "connection refused") for _ in range(11)]
    play.api.lists += [page(entry("a", "y"))]
    await play.run()
    assert len(play.pauses) == 12
    assert 2.5 <= max(play.pauses) <= 5
    assert play.recoveries == 1, "it is told once, when the collection is listed again"
    assert play.changes == [(None, "x"), ("x", "y")]
    assert play.informer.failing is not None
    assert play.informer.failing[1] == "connection refused", "a listing that succeeds proves nothing of the watch"


async def test_every_listing_and_watch_that_fails_is_told_of() -> None:
    play = Play(pauses=3)
    play.api.lists = [ApiError(403, "no"), page(), page(), ApiError(0, "reset")]
    play.api.watches = [[GONE], [ApiError(0, "silence")]]
    await play.run()
    assert play.failures == [403, 410, 0, 0]


async def test_a_server_that_has_answered_all_along_has_not_come_back() -> None:
    play = Play(pauses=2)
    play.api.lists = [page(), ApiError(500, "etcd has no leader"), page(), page()]
    play.api.watches = [[GONE], [event("ADDED", "a", "x")]]
    await play.run()
    assert play.recoveries == 0
    assert play.informer.failing is None
