"""Who is asking: one review a token and minute, sentences for strangers, and patience while the API server is away."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controlplane.ca.tokens import REFUSED_SECONDS, REMEMBER_SECONDS, BadTokenError, TokenCheckError, Tokens
from controlplane.kube.client import ApiError


def good(name: str = "system:serviceaccount:shop:web", pod: str = "web-1", **more: Any) -> dict[str, Any]:
    user = {"username": name, "extra": {"authentication.kubernetes.io/pod-name": [pod]}}
    return {"authenticated": True, "audiences": ["tulle-ca"], "user": user, **more}


class FakeReviews:
    def __init__(self, status: Any) -> None:
        self.status = status
        self.asked: list[Any] = []

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        assert path.endswith("/tokenreviews")
        self.asked.append(body["spec"])
        if isinstance(self.status, Exception):
            raise self.status
        return {"status": self.status}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(expires: float = 5000.0) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"Bearer h.{claims}.s"


async def test_caller_is_named_with_the_pod_the_token_is_bound_to() -> None:
    """Identity, pod and expiry come from the review and the token."""
    reviews = FakeReviews(good())
    caller = await Tokens(reviews, "cluster.local", Clock()).check(token())

    assert str(caller.identity) == "spiffe://cluster.local/ns/shop/sa/web"
    assert (caller.pod, caller.expires) == ("web-1", 5000.0)
    assert reviews.asked[0]["audiences"] == ["tulle-ca"]


@pytest.mark.parametrize(
    ("header", "status", "words"),
    [
        ("", good(), "no token"),
        ("Basic abc", good(), "no token"),
        ("Bearer " + "x" * 20_000, good(), "no service-account token"),
        (token(), {"authenticated": False, "error": "token has expired"}, "token has expired"),
        (token(), good(audiences=["somebody"]), "not meant for audience tulle-ca"),
        (token(), good("kubernetes-admin"), "no service account"),
        (token(), good("system:serviceaccount:Bad_Name:web"), "no Kubernetes namespace name|not a Kubernetes"),
    ],
)
async def test_stranger_is_refused_in_a_sentence(header: str, status: Any, words: str) -> None:
    """Missing, foreign, expired, for another audience, of a person."""
    with pytest.raises(BadTokenError, match=words):
        await Tokens(FakeReviews(status), "cluster.local", Clock()).check(header)


async def test_answer_is_remembered_for_a_minute_and_never_beyond_the_tokens_end() -> None:
    """A reconnecting fleet costs one review a token."""
    reviews, clock = FakeReviews(good()), Clock()
    tokens = Tokens(reviews, "cluster.local", clock)
    for _ in range(3):
        await tokens.check(token())
    assert len(reviews.asked) == 1
    clock.now += REMEMBER_SECONDS + 1
    await tokens.check(token())
    await tokens.check(token(expires=clock.now + 5))
    clock.now += 6
    await tokens.check(token(expires=clock.now - 1))

    assert len(reviews.asked) == 4


async def test_refusal_is_asked_again_soon() -> None:
    """What was refused may be good a moment later, but not at once."""
    reviews, clock = FakeReviews({"authenticated": False}), Clock()
    tokens = Tokens(reviews, "cluster.local", clock)
    for _ in range(2):
        with pytest.raises(BadTokenError):
            await tokens.check(token())
    assert len(reviews.asked) == 1
    reviews.status = good()
    clock.now += REFUSED_SECONDS + 1

    assert (await tokens.check(token())).pod == "web-1"


async def test_known_caller_stays_known_while_the_api_server_is_away() -> None:
    """Until the token's own end, and nobody new."""
    reviews, clock = FakeReviews(good()), Clock()
    tokens = Tokens(reviews, "cluster.local", clock)
    await tokens.check(token())
    reviews.status = ApiError(503, "", "away")
    clock.now += REMEMBER_SECONDS + 1

    assert (await tokens.check(token())).pod == "web-1"
    with pytest.raises(TokenCheckError, match="away"):
        await tokens.check(token(expires=6000.0))
    clock.now = 5001.0
    with pytest.raises(TokenCheckError):
        await tokens.check(token())


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up tokens push nothing out of memory's bound."""
    monkeypatch.setattr("controlplane.ca.tokens.MAX_REMEMBERED", 10)
    tokens = Tokens(FakeReviews({"authenticated": False}), "cluster.local", Clock())
    for number in range(100):
        with pytest.raises(BadTokenError):
            await tokens.check(f"Bearer {number}")

    assert len(tokens._memory) <= 10
