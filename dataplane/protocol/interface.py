"""The one shape all codecs have, so a driver speaks HTTP/1 and HTTP/2 with the same code.

In: network bytes by `receive`, commands by `send_*`. Out: events, and network bytes by `output`.
How a driver uses a codec:

- After every call that may write (`receive` too), write `output()` to the peer.
- Header lists hold no `Host` (it is `authority`) and no hop-by-hop fields; codecs add framing and connection fields
  themselves. `Content-Length` is passed through and decides the framing; without it HTTP/1 bodies go chunked.
- For every `Data` received call `consumed` once its bytes were handed on; that opens the peer's window again.
- Before taking more from a source, look at `pending(stream)`; above your high mark stop, until `Writable`.
- When `closing` and not `active`, flush and close. After `Failure`, flush and close at once.
- HTTP/1 servers keep pipelined requests until the response is finished: when `held` and the stream is over, call
  `receive(b"")`. While `held` there is no use in reading the socket. A line of a body cut short by the network is not held.
- After `send_response(101)` or 2xx to CONNECT the HTTP/1 connection is a tunnel; bytes held go by `receive(b"")` too.
  When `write_eof` turns true, shut the socket's sending side down.
"""

from typing import Protocol

from dataplane.protocol.events import Event, Headers, RequestHead


class MisuseError(RuntimeError):
    """The driver asked a codec for something the protocol does not have; never raised because of network bytes."""


class Codec(Protocol):
    """One connection's protocol state."""

    @property
    def active(self) -> int:
        """Streams open now."""

    @property
    def closing(self) -> bool:
        """No more streams will be opened: close when nothing is active."""

    def held(self) -> int:
        """Bytes received that wait for the current response (HTTP/1 servers)."""

    @property
    def write_eof(self) -> bool:
        """Our side of a tunnel has ended (HTTP/1)."""

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; never raises because of them."""

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends."""

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body or tunnel; what the peer's window does not allow waits (see `pending`).

        Ignored when the stream is over. Raises MisuseError when it is longer than the Content-Length sent.
        """

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields; HTTP/1 bodies of known length end without them."""

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up. HTTP/1 can do so only by closing: `closing` turns true."""

    def consumed(self, stream: int, size: int) -> None:
        """Note that `size` received body bytes were handed on."""

    def pending(self, stream: int) -> int:
        """Bytes of the stream that wait for the peer's window."""

    def output(self) -> bytes:
        """Return everything to write since the last call."""

    def goaway(self) -> None:
        """Begin a graceful end: tell the peer to open no more streams; those on the way are still served."""

    def shutdown(self) -> None:
        """Refuse what was not opened yet; the second step after `goaway`, or the only one."""


class ServerCodec(Codec, Protocol):
    """The side that takes requests."""

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:
        """Answer; 1xx any number of times before the final one. Ignored when the stream is over."""


class ClientCodec(Codec, Protocol):
    """The side that makes requests."""

    @property
    def can_open(self) -> bool:
        """Whether `send_request` is allowed now."""

    def send_request(self, head: RequestHead, end: bool) -> int:
        """Send a request head (its `stream`, `end` and `version` are not looked at) and return its stream.

        Raises MisuseError when `can_open` is false.
        """
