"""Who takes what comes of a request: the answer's side of an exchange, or the void behind a mirror's.

In: what the request's side and the attempt come to. Out: whatever the subclass does with it; every call does nothing by itself.
"""

from __future__ import annotations

from typing import Final

from dataplane.protocol.events import Headers, ResponseHead
from dataplane.proxy.request.errors import Refusal


class Taker:
    """What an attempt and the request's side can tell."""

    __slots__ = ("detail", "flag")

    flag: int
    """Why it ended as it did (`telemetry.flags`)."""
    detail: str
    """The same, for people."""

    def astray(self, what: str) -> bool:  # noqa: ARG002 - the face of all
        """Something came that the tables do not know; False, for the caller to stop by."""
        return False

    def whole(self) -> None:
        """All of the request is here."""

    def passed(self) -> None:
        """All of the request was passed on."""

    def interim(self, head: ResponseHead) -> None:
        """The server informs (1xx), or agrees to an upgrade (101)."""

    def answered(self, head: ResponseHead) -> None:
        """The server answers, and this answer is to be taken."""

    def data(self, data: bytes, end: bool) -> None:
        """A piece of the answer."""

    def trailers(self, headers: Headers) -> None:
        """The answer ends with fields."""

    def broke(self, code: int) -> None:
        """The server broke off an answer that had begun."""

    def refuse(self, refusal: Refusal) -> None:
        """There is no answer to be had."""


NOBODY: Final = Taker()
"""Whom the parts of a finished request talk to."""
