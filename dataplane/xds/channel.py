"""gRPC on the sidecar's own HTTP/2 codec: one connection, a handful of calls, no library of 27 MB.

In: a stream to the control plane, call paths and messages as bytes. Out: messages and the end of each call, by plain calls on
a `CallListener`. Follows "gRPC over HTTP/2" (PROTOCOL-HTTP2): framing, trailers, `grpc-status`. Refuses messages beyond its
limit and answers that are not gRPC by ending the call with a status and a sentence.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any

from dataplane.net.receiver import Receiver
from dataplane.protocol import codes
from dataplane.protocol.events import (
    PONG,
    WRITABLE,
    Data,
    Event,
    Failure,
    Headers,
    RequestHead,
    Reset,
    ResponseHead,
    Trailers,
)
from dataplane.protocol.fields import get
from dataplane.protocol.grpcframe import FrameDecoder, FrameError, encode
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits

INTERNAL = 13
UNAVAILABLE = 14

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Largest message taken; a push of everything a busy sidecar uses is far below."""
_LIMITS = Limits(concurrent_streams=4, stream_window=1024 * 1024, connection_window=4 * 1024 * 1024)
_PING = b"tulle\0\0\0"


class CallListener:
    """What is told about a call."""

    def message(self, data: bytes) -> None:
        """A whole message came."""

    def finished(self, status: int, words: str) -> None:
        """The call is over: a gRPC status and what the server (or the loss of it) says. Called once, last."""

    def writable(self) -> None:
        """There is room again for what we send."""


class GrpcCall:
    """One call under way; made by `Channel.call`."""

    __slots__ = ("_channel", "_decoder", "_listener", "number")

    def __init__(self, channel: Channel, number: int, listener: CallListener) -> None:
        self.number = number
        self._channel = channel
        self._decoder = FrameDecoder(MESSAGE_LIMIT)
        self._listener = listener

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Send a message; nothing happens when the call is over."""
        self._channel.send(self.number, encode(data), last=last)

    def finish(self) -> None:
        """Send no more; the answer is still to come."""
        self._channel.send(self.number, b"", last=True)

    @property
    def room(self) -> bool:
        """Whether the server takes what we send; else `writable` is told when it does."""
        return self._channel.room(self.number)

    def writable(self) -> None:
        """Tell of room."""
        self._listener.writable()

    def cancel(self) -> None:
        """Give the call up; its listener hears nothing more."""
        self._listener = CallListener()
        self._channel.reset(self.number, codes.CANCEL)

    def head(self, head: ResponseHead) -> None:
        """Take the answer's head."""
        if head.status < 200:
            return
        kind = get(head.headers, b"content-type") or b""
        if head.status != 200 or not kind.startswith(b"application/grpc"):
            shown = kind.decode("latin-1")
            self._fail(UNAVAILABLE, f"the answer is no gRPC: status {head.status}, content-type {shown!r}")
        elif head.end:
            self.trailers(head.headers)

    def data(self, data: bytes) -> None:
        """Take a piece of the answer's body."""
        try:
            messages = self._decoder.feed(data)
        except FrameError as problem:
            self._fail(INTERNAL, str(problem))
            return
        for message in messages:
            self._listener.message(message)

    def trailers(self, headers: Headers) -> None:
        """Take the status and end."""
        status = get(headers, b"grpc-status") or b""
        said = get(headers, b"grpc-message")
        words = urllib.parse.unquote_to_bytes(said).decode(errors="replace") if said else ""
        if status.isdigit():
            self.over(int(status), words)
        else:
            self.over(INTERNAL, "the answer ended without grpc-status")

    def over(self, status: int, words: str) -> None:
        """End the call, once."""
        listener, self._listener = self._listener, CallListener()
        self._channel.forget(self.number)
        listener.finished(status, words)

    def _fail(self, status: int, words: str) -> None:
        self._channel.reset(self.number, codes.CANCEL)
        self.over(status, words)


class Channel(Receiver):
    """A connection to a gRPC server; use it once `on_open` was called."""

    def __init__(self, authority: str, on_open: Callable[[], None], on_lost: Callable[[str], None]) -> None:
        self._authority = authority.encode()
        self._codec = Http2Client(_LIMITS)
        self._calls: dict[int, GrpcCall] = {}
        self._on_open = on_open
        self._on_lost = on_lost
        self._pinged = False
        self._stream: Any = None
        self.lost_for: str | None = None

    def attach(self, stream: Any) -> None:
        """Take the stream that is being dialled with this channel as its receiver."""
        self._stream = stream

    def call(self, path: str, metadata: list[tuple[str, str]], listener: CallListener) -> GrpcCall:
        """Begin a call. On a connection that is gone, it ends at once with UNAVAILABLE."""
        headers: Headers = [
            (b"content-type", b"application/grpc", b"content-type"),
            (b"te", b"trailers", b"te"),
            (b"user-agent", b"tulle-proxy", b"user-agent"),
        ]
        headers += [(name.encode(), value.encode(), name.encode()) for name, value in metadata]
        if self.lost_for is not None or not self._codec.can_open:
            listener.finished(UNAVAILABLE, self.lost_for or "the server takes no more calls on this connection")
            return GrpcCall(self, 0, CallListener())
        scheme = b"https" if getattr(self._stream, "alpn", "") else b"http"
        head = RequestHead(0, b"POST", scheme, self._authority, path.encode(), headers, False, 20)
        number = self._codec.send_request(head, False)
        call = self._calls[number] = GrpcCall(self, number, listener)
        self._flush()
        return call

    def check(self) -> None:
        """Ask the server whether it is there; a check not answered until the next one ends the connection."""
        if self._pinged and self._stream is not None:
            self._stream.abort()
            return
        self._pinged = True
        self._codec.ping(_PING)
        self._flush()

    def close(self) -> None:
        """End the connection; calls under way end with UNAVAILABLE."""
        if self._stream is not None:
            self._codec.goaway()
            self._flush()
            self._stream.close()

    def send(self, number: int, data: bytes, *, last: bool) -> None:
        """Send a framed message of a call."""
        self._codec.send_data(number, data, last)
        self._flush()

    def room(self, number: int) -> bool:
        """Whether little of what a call sent waits for the server."""
        return self._codec.pending(number) <= _LIMITS.low_watermark and not self._stream.high

    def drained(self) -> None:
        """The connection has room again."""
        for call in list(self._calls.values()):
            call.writable()

    def reset(self, number: int, code: int) -> None:
        """Reset a call's stream."""
        self._codec.reset(number, code)
        self.forget(number)
        self._flush()

    def forget(self, number: int) -> None:
        """Drop a call that is over."""
        self._calls.pop(number, None)

    def opened(self) -> None:
        """Send the preface and tell the owner."""
        self._flush()
        self._on_open()

    def received(self, data: bytes) -> None:
        """Take bytes from the server."""
        self._codec.now = self._stream.poller.now
        for event in self._codec.receive(data):
            self._take(event)
        self._flush()
        if self._codec.closing and not self._codec.active:
            self._stream.close()

    def ended(self) -> None:
        """The server sends no more: nothing can be finished."""
        self._stream.close()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        detail = getattr(self._stream, "detail", "")
        self.lost_for = f"{reason}: {detail}" if detail else reason
        for call in list(self._calls.values()):
            call.over(UNAVAILABLE, f"the connection was lost ({self.lost_for})")
        self._on_lost(self.lost_for)

    def _take(self, event: Event) -> None:
        """Hand an event to its call."""
        if event.kind == PONG:
            self._pinged = False
            return
        if isinstance(event, Failure):
            self._flush()
            self._stream.abort()
            return
        call = self._calls.get(event.stream)
        if isinstance(event, Data):
            self._codec.consumed(event.stream, len(event.data))
        if call is None:
            return
        if isinstance(event, ResponseHead):
            call.head(event)
        elif isinstance(event, Data):
            call.data(event.data)
            if event.end:
                call.over(INTERNAL, "the answer ended without trailers")
        elif isinstance(event, Trailers):
            call.trailers(event.headers)
        elif isinstance(event, Reset):
            call.over(UNAVAILABLE, event.reason)
        elif event.kind == WRITABLE:
            call.writable()

    def _flush(self) -> None:
        data = self._codec.output()
        if data and self._stream is not None:
            self._stream.write(data)
