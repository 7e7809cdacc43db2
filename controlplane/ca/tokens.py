"""Who is asking: a projected service-account token, reviewed by the API server and remembered briefly.

In: the `authorization` metadata of a call, and from where it came. Out: a `Caller`: the identity and, for a token bound to a pod, the pod. Refuses a missing,
foreign, expired or wrong-audience token with BadTokenError, and more questions from a pod or node than it may ask with FullError; the token itself is never kept
nor logged, only its hash.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import msgspec

from controlplane.bounds import REVIEWS, Budgets, Who
from controlplane.kube.client import UNREADABLE, ApiError
from meshapi import names
from meshapi.identity import BadIdentityError, Identity

REMEMBER_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""A refused token is asked again soon: keys of the API server rotate, and pods bind a moment later."""
MAX_REMEMBERED = 10_000
MAX_TOKEN = 16 * 1024
CONCURRENT = 32
_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_POD = "authentication.kubernetes.io/pod-name"


_ANYWHERE = Who()


class BadTokenError(Exception):
    """Nobody this mesh knows; the message says why."""


class TokenCheckError(Exception):
    """Whether the token is good could not be found out: the API server did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a call comes from."""

    identity: Identity
    pod: str = ""
    """The pod the token is bound to; empty when it is bound to none."""
    expires: float = 0.0
    """Unix time at which the token is over; 0 when it does not say."""


class Reviews(Protocol):
    """Where tokens are reviewed; `Cluster` is one."""

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        """POST an object."""


class Tokens:
    """TokenReview with a short memory."""

    def __init__(self, cluster: Reviews, trust_domain: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._trust_domain = trust_domain
        self._clock = clock
        self._memory: dict[bytes, tuple[float, Caller | str]] = {}
        self._gate = asyncio.Semaphore(CONCURRENT)
        self.budgets = Budgets("reviews of tokens", REVIEWS, pod_seconds=1.0, node_seconds=0.02)

    async def check(self, authorization: str, origin: Who = _ANYWHERE) -> Caller:
        """Say who presents a token; raises BadTokenError, TokenCheckError or FullError. `origin` is whose address it came from, for nobody else is known yet."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise BadTokenError(f"no token: send 'authorization: Bearer <token>' with audience {names.TOKEN_AUDIENCE}")
        if len(token) > MAX_TOKEN or not token.isascii():
            raise BadTokenError("this is no service-account token")
        key = hashlib.sha256(token.encode()).digest()
        remembered = self._memory.get(key)
        if remembered and remembered[0] > self._clock():
            return _known(remembered[1])
        self.budgets.spend(origin, time.monotonic())  # not the wall clock, which may step
        try:
            async with self._gate:
                verdict = await self._review(token)
        except TokenCheckError:
            # The API server is away: whom it vouched for before stays known until the token's own end.
            if remembered and isinstance(remembered[1], Caller) and remembered[1].expires > self._clock():
                return remembered[1]
            raise
        until = self._clock() + (REMEMBER_SECONDS if isinstance(verdict, Caller) else REFUSED_SECONDS)
        if isinstance(verdict, Caller) and verdict.expires:
            until = min(until, verdict.expires)
        self._remember(key, until, verdict)
        return _known(verdict)

    async def _review(self, token: str) -> Caller | str:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [names.TOKEN_AUDIENCE]},
        }
        try:
            status = (await self._cluster.create(_REVIEWS, review)).get("status") or {}
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TokenCheckError(f"the API server did not review the token: {error}") from error
        if not status.get("authenticated"):
            return f"the token is not valid: {status.get('error') or 'the API server does not know it'}"
        if names.TOKEN_AUDIENCE not in (status.get("audiences") or ()):
            return f"the token is not meant for audience {names.TOKEN_AUDIENCE}"
        user = status.get("user") or {}
        parts = str(user.get("username", "")).split(":")
        if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"]:
            return f"{user.get('username')!r} is no service account"
        try:
            identity = Identity(trust_domain=self._trust_domain, namespace=parts[2], account=parts[3])
        except BadIdentityError as error:
            return str(error)
        pods = (user.get("extra") or {}).get(_POD) or [""]
        return Caller(identity=identity, pod=str(pods[0]), expires=_expiry(token))

    def _remember(self, key: bytes, until: float, verdict: Caller | str) -> None:
        if len(self._memory) >= MAX_REMEMBERED:
            now = self._clock()
            self._memory = {k: v for k, v in self._memory.items() if v[0] > now}  # stale ones first
            if len(self._memory) >= MAX_REMEMBERED:
                self._memory.clear()
        self._memory[key] = (until, verdict)


def _known(verdict: Caller | str) -> Caller:
    if isinstance(verdict, str):
        raise BadTokenError(verdict)
    return verdict


class _Claims(msgspec.Struct):
    exp: float = 0.0


def _expiry(token: str) -> float:
    """Read `exp` of a JWT whose signature the API server has checked."""
    try:
        payload = token.split(".")[1]
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(raw, type=_Claims).exp
    except (IndexError, binascii.Error, *UNREADABLE):
        return 0.0
