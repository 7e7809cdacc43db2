"""When a request may be sent again.

In: the route's `RetryPolicy` (or none), what went wrong, how often it was tried. Out: yes or no, and how long to wait.
Without a policy only what the application provably or harmlessly never saw is repeated: a stream the server refused, also
one that its sidecar refused because the app could not be reached (at another endpoint), and a safe request on a reused connection that ended before a byte of the answer (RFC 9110, section 9.2.2).
"""

from __future__ import annotations

from dataplane.config import RetryPolicy
from dataplane.protocol import codes

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_GATEWAY = frozenset((502, 503, 504))
_GRPC = {1: "cancelled", 4: "deadline-exceeded", 8: "resource-exhausted", 13: "internal", 14: "unavailable"}
UNASKED_TRIES = 2
"""Tries of a request nobody asked to retry, all in all."""

UNSEEN_TRIES = 3
"""Tries of a request that endpoints' sidecars could not hand on, all in all."""


def elsewhere(refused: int, endpoints: int) -> bool:
    """Whether a request that so many endpoints' sidecars could not hand on goes to another one: each of them once, and not more than a few."""
    return refused < min(UNSEEN_TRIES, endpoints)


def unasked(code: int, method: bytes, *, raced: bool, tries: int) -> bool:
    """Whether to repeat without a policy; `raced`: a kept connection of HTTP/1 was used again and gave no byte of an answer.

    `tries` counts those that had their turn: not this one where a GOAWAY left it out, for nobody has looked at it, and where pods end one after the other the next may be going too.
    """
    if tries >= UNASKED_TRIES:
        return False
    if code == codes.REFUSED_STREAM:
        return True
    return code == codes.CONNECT_ERROR and raced and method in _SAFE


def on_reset(policy: RetryPolicy, code: int) -> bool:
    """Whether the policy repeats a request that was reset before it was answered.

    `reset-before-request` is for what never left (as in Envoy): a connection that could not be had, which is tried
    elsewhere without a policy, and a stream the server refused.
    """
    wanted = policy.on
    if code == codes.REFUSED_STREAM and not wanted.isdisjoint({"refused-stream", "reset-before-request"}):
        return True
    return not wanted.isdisjoint({"reset", "5xx", "gateway-error"})


def on_status(policy: RetryPolicy, status: int) -> bool:
    """Whether the policy repeats a request answered so."""
    wanted = policy.on
    if status in policy.codes and "retriable-status-codes" in wanted:
        return True
    if status == 409 and "retriable-4xx" in wanted:
        return True
    return ("5xx" in wanted and status >= 500) or ("gateway-error" in wanted and status in _GATEWAY)


def on_grpc(policy: RetryPolicy, grpc_status: int) -> bool:
    """Whether the policy repeats a gRPC call that ended so, before any message."""
    return _GRPC.get(grpc_status, "") in policy.on


def backoff(policy: RetryPolicy, retries: int, dice: float) -> float:
    """How long to wait before retry number `retries` (from 1): full jitter over a doubling bound."""
    base, highest = policy.backoff
    return dice * min(base * (2.0**retries - 1), highest)
