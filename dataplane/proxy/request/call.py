"""A `Call`: one request between two connections, as these see it.

In: what its two ends hear. Out: nothing by itself; `Sending` and what is made of it act.
"""

from __future__ import annotations

from dataplane.net.receiver import Receiver
from dataplane.protocol.events import Headers, ResponseHead


class Call:
    """One request on its way; what its ends hear comes in by these methods."""

    __slots__ = ("down_stream", "idle", "over", "touched", "up_stream")

    def prepare_call(self, down_stream: int) -> None:
        """Begin; in place of `__init__`, whose arguments would cost a tuple a class and a request."""
        self.down_stream = down_stream
        self.up_stream = 0
        self.over = False
        self.touched = 0.0
        self.idle = 0.0
        """Seconds after which it is given up when nothing moves; 0 is never."""

    def connected(self, up: Receiver) -> None:
        """A connection to the server is there for this request."""

    def unconnected(self, reason: str, detail: str) -> None:
        """There is none to be had."""

    def request_data(self, data: bytes, end: bool) -> None:
        """The client sent a piece of its body."""

    def request_trailers(self, headers: Headers) -> None:
        """The client ended its request with fields."""

    def request_reset(self, reason: str) -> None:
        """The client gave the request up, or is gone."""

    def response_head(self, head: ResponseHead) -> None:
        """The server answers."""

    def response_data(self, data: bytes, end: bool) -> None:
        """The server sent a piece of its body."""

    def response_trailers(self, headers: Headers) -> None:
        """The server ended its response with fields."""

    def response_reset(self, code: int, reason: str) -> None:
        """The server gave the request up, or is gone."""

    def upstream_ready(self) -> None:
        """The server takes more."""

    def downstream_ready(self) -> None:
        """The client takes more."""

    def too_idle(self) -> None:
        """Nothing moved for longer than allowed."""
