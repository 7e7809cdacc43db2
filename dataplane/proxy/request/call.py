"""A request as the connections see that carry it: the client's an `Asked`, the server's a `Tried`.

In: what its two ends hear. Out: nothing by itself; `Exchange` and `Attempt` act.
"""

from __future__ import annotations

from dataplane.net.receiver import Receiver
from dataplane.protocol.events import Headers, ResponseHead


class Call:
    """One message each way on a connection."""

    __slots__ = ("over", "stream")

    over: bool
    stream: int

    def ready(self) -> None:
        """The peer takes more."""


class Asked(Call):
    """At the client's connection, and for the parts it is made of."""

    __slots__ = ("idle",)

    idle: float
    """Seconds after which it is given up when nothing moves; 0 is never."""

    def request_data(self, data: bytes, end: bool) -> None:
        """The client sent a piece of its body."""

    def request_trailers(self, headers: Headers) -> None:
        """The client ended its request with fields."""

    def request_reset(self, reason: str) -> None:
        """The client gave the request up, or is gone."""

    def look_idle(self, now: float) -> None:
        """Look whether nothing moved for longer than allowed."""

    def request_whole(self) -> None:
        """All of the request is here."""

    def edit_response(self, headers: Headers) -> None:
        """An answer is about to begin."""

    def switched(self) -> None:
        """It has become a tunnel."""

    def finish(self) -> None:
        """Both sides are done, or one has given up."""


class Tried(Call):
    """At a server's connection, and while it waits for one."""

    __slots__ = ()

    def connected(self, up: Receiver) -> None:
        """A connection is there for this request."""

    def unconnected(self, reason: str, detail: str) -> None:
        """There is none to be had."""

    def failed(self, what: str) -> None:
        """A defect showed when it was told of its connection, or that there is none."""

    def response_head(self, head: ResponseHead) -> None:
        """The server answers."""

    def response_data(self, data: bytes, end: bool) -> None:
        """The server sent a piece of its body."""

    def response_trailers(self, headers: Headers) -> None:
        """The server ended its response with fields."""

    def response_reset(self, code: int, reason: str) -> None:
        """The server gave the request up, or is gone."""
