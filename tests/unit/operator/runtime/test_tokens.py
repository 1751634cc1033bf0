from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_api import FakeApi

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.tokens import CACHE_SECONDS, PodIdentity, TokenReviewer


def review(**change: Any) -> dict[str, Any]:
    status = {
        "authenticated": True,
        "audiences": [TOKEN_AUDIENCE],
        "user": {
            "username": "system:serviceaccount:ns:default",
            "extra": {"authentication.kubernetes.io/pod-uid": ["pod-1"]},
        },
        **change,
    }
    return {"status": status}


class Reviews:
    """A reviewer whose API server answers with `answer`, and a clock."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.answer: dict[str, Any] = review()
        self.api.on_create = lambda token: self.answer
        self.now = 0.0
        self.reviewer = TokenReviewer(self.api, clock=lambda: self.now)  # type: ignore[arg-type]

    @property
    def asked(self) -> int:
        return len(self.api.paths("POST"))


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


async def test_a_token_names_its_pod(reviews: Reviews) -> None:
    assert await reviews.reviewer.identity_of("t") == PodIdentity(namespace="ns", uid="pod-1")


@pytest.mark.parametrize(
    "change",
    [
        {"authenticated": False},
        {"audiences": ["https://kubernetes.default.svc"]},
        {"audiences": None},
        {"user": {"username": "system:serviceaccount:ns:default"}},
        {"user": {"username": "jane", "extra": {"authentication.kubernetes.io/pod-uid": ["pod-1"]}}},
    ],
    ids=["not valid", "for somebody else", "for anybody", "bound to no pod", "of a person"],
)
async def test_any_other_token_is_nobody_s(reviews: Reviews, change: dict[str, Any]) -> None:
    reviews.answer = review(**change)
    assert await reviews.reviewer.identity_of("t") is None


async def test_answers_are_remembered_for_a_while(reviews: Reviews) -> None:
    for _ in range(3):
        await reviews.reviewer.identity_of("t")
    assert reviews.asked == 1
    assert reviews.reviewer.knows("t")
    await reviews.reviewer.identity_of("other")
    assert reviews.asked == 2
    reviews.now += CACHE_SECONDS
    assert not reviews.reviewer.knows("t")
    await reviews.reviewer.identity_of("t")
    assert reviews.asked == 3


async def test_tokens_that_came_at_once_are_not_reviewed_again_at_once() -> None:
    api, now, shares = FakeApi(), 0.0, iter([1.0, 0.5])
    api.on_create = lambda token: review()
    reviewer = TokenReviewer(api, clock=lambda: now, spread=lambda: next(shares))  # type: ignore[arg-type]
    for token in ("a", "b"):
        await reviewer.identity_of(token)
    now = 0.75 * CACHE_SECONDS
    assert [reviewer.knows(token) for token in ("a", "b")] == [True, False]


async def test_refusals_are_remembered_too(reviews: Reviews) -> None:
    reviews.answer = review(authenticated=False)
    await reviews.reviewer.identity_of("forged")
    await reviews.reviewer.identity_of("forged")
    assert reviews.asked == 1


async def test_an_api_server_that_does_not_answer_refuses_nobody(reviews: Reviews) -> None:
    reviews.api.refuse[paths.TOKEN_REVIEWS] = [ApiError(503, "busy")]
    with pytest.raises(ApiError):
        await reviews.reviewer.identity_of("t")
    assert await reviews.reviewer.identity_of("t") is not None


async def test_a_token_that_is_none_is_nobody_s(reviews: Reviews) -> None:
    reviews.api.refuse[paths.TOKEN_REVIEWS] = [ApiError(422, "invalid")]
    assert await reviews.reviewer.identity_of("\x00") is None


async def test_reviews_are_capped() -> None:
    answered = asyncio.Event()

    class Slow(FakeApi):
        async def create(self, path: str, body: Any) -> dict[str, Any]:
            await answered.wait()
            return review()

    reviewer = TokenReviewer(Slow())  # type: ignore[arg-type]
    waiting = [asyncio.ensure_future(reviewer.identity_of(str(token))) for token in range(16)]
    await asyncio.sleep(0)
    assert reviewer.is_busy
    answered.set()
    await asyncio.gather(*waiting)
    assert not reviewer.is_busy


async def test_the_right_is_tried_until_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    denied = ApiError(403, 'cannot create resource "tokenreviews"')
    api.refuse[paths.TOKEN_REVIEWS] = [ApiError(0, "connection refused"), denied, denied]
    api.on_create = lambda token: review(authenticated=False)
    seen: list[tuple[float, bool]] = []

    async def sleep(seconds: float) -> None:
        seen.append((seconds, reviewer.forbidden))
        if len(seen) == 4:
            raise asyncio.CancelledError

    reviewer = TokenReviewer(api, sleep=sleep)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await reviewer.run()
    assert [forbidden for _, forbidden in seen] == [False, True, True, False]
    assert seen[0][0] < seen[1][0]
    # Once, and not with every report.
    assert caplog.text.count("so no reports are taken") == 1
