"""Who may call: the caller of any of our gRPC methods, by its token, or a refusal with its status.

In: a call's metadata. Out: the Caller. Refuses with Denied: UNAUTHENTICATED without a good token, UNAVAILABLE while the API server cannot be asked,
RESOURCE_EXHAUSTED where too many tokens come from one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from controlplane.bounds import FullError, Who
from controlplane.ca.tokens import BadTokenError, Caller, TokenCheckError, Tokens


class Denied(Exception):  # noqa: N818 - a verdict with its status, not a failure of ours
    """A call that is refused: the gRPC status and the sentence."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def authorization_of(metadata: Any) -> str:
    """Read the authorization header of a call's metadata."""
    return next((str(value) for key, value in metadata or () if key == "authorization"), "")


Identify = Callable[[str, str], Awaitable[Caller]]
"""Finds out who calls, by the authorization shown and the peer as gRPC writes it; raises Denied."""


async def identified(tokens: Tokens, authorization: str, origin: Who) -> Caller:
    """Find out who calls from somebody's address; raises Denied."""
    try:
        return await tokens.check(authorization, origin)
    except BadTokenError as error:
        raise Denied(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error
    except FullError as error:
        raise Denied(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
    except TokenCheckError as error:
        raise Denied(grpc.StatusCode.UNAVAILABLE, str(error)) from error
