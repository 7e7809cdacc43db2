"""What answers at the far end: HTTP/1.1, HTTP/2 and gRPC, or bytes, on our own engine so that it is never the bottleneck.

    python -m benchmarks.backend http|tcp PORT

`/16k` answers 16,384 bytes, any other path 64. A gRPC call (content-type) is answered with one message of 64 bytes and
trailers, with 100 messages, a DATA frame each, where its path ends in `/List`. `tcp`: the client sends eight bytes, a big-endian count, and gets as many bytes.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from dataplane.net.listen import ListenSocket, bind
from dataplane.net.poller import Poller
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.protocol import detect
from dataplane.protocol.events import Data, Event, RequestHead, Trailers
from dataplane.protocol.fields import get
from dataplane.protocol.grpcframe import encode
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits

SMALL, LARGE = b"x" * 64, b"x" * 16384
MESSAGE = encode(SMALL)
LISTED = 100
_LIMITS = Limits(concurrent_streams=1000)
_BLOCK = b"\0" * 262144


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return (name, value, name)


_HEADERS = {
    body: [_field(b"content-type", b"text/plain"), _field(b"content-length", b"%d" % len(body))]
    for body in (SMALL, LARGE)
}
_GRPC = [_field(b"content-type", b"application/grpc")]
_TRAILERS = [_field(b"grpc-status", b"0")]


class Http(Receiver):
    """One connection of either version."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._codec: Http1Server | Http2Server | None = None
        self._grpc: dict[int, int] = {}
        """How many messages a call gets for each of its own."""

    def received(self, data: bytes) -> None:
        """Answer what is complete."""
        codec = self._codec
        if codec is None:
            http2 = detect.classify(data) == detect.HTTP2
            codec = self._codec = Http2Server(_LIMITS) if http2 else Http1Server(_LIMITS)
        for event in codec.receive(data):
            self._take(codec, event)
        while codec.held() and not codec.active:
            for event in codec.receive(b""):
                self._take(codec, event)
        self._stream.write(codec.output())

    def ended(self) -> None:
        """The client is done."""
        self._stream.close()

    def _take(self, codec: Http1Server | Http2Server, event: Event) -> None:
        number = event.stream
        if isinstance(event, RequestHead):
            if (get(event.headers, b"content-type") or b"").startswith(b"application/grpc"):
                self._grpc[number] = LISTED if event.path.endswith(b"/List") else 1
                codec.send_response(number, 200, b"", _GRPC, False)
            elif event.end:
                self._answer(codec, number, event.path)
        elif isinstance(event, Data):
            codec.consumed(number, len(event.data))
            if number in self._grpc:
                for _ in range(self._grpc[number] if event.data else 0):
                    codec.send_data(number, MESSAGE, False)
                if event.end:
                    del self._grpc[number]
                    codec.send_trailers(number, _TRAILERS)
            elif event.end:
                self._answer(codec, number, b"/")
        elif isinstance(event, Trailers):
            self._answer(codec, number, b"/")

    @staticmethod
    def _answer(codec: Http1Server | Http2Server, number: int, path: bytes) -> None:
        body = LARGE if path == b"/16k" else SMALL
        codec.send_response(number, 200, b"", _HEADERS[body], False)
        codec.send_data(number, body, True)


class Bytes(Receiver):
    """Sends as many bytes as it was asked for."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._asked = b""
        self._left = 0

    def received(self, data: bytes) -> None:
        """Read the count, then send."""
        self._asked += data
        if len(self._asked) >= 8:
            self._left = int.from_bytes(self._asked[:8], "big")
            self._asked = b""
            self._send()

    def drained(self) -> None:
        """Go on."""
        self._send()

    def ended(self) -> None:
        """The client is done."""
        self._stream.close()

    def _send(self) -> None:
        while self._left and not self._stream.high:
            block = _BLOCK[: min(self._left, len(_BLOCK))]
            self._left -= len(block)
            self._stream.write(block)


async def _serve(kind: str, port: int) -> None:
    poller = Poller(asyncio.get_running_loop())

    def accepted(stream: Stream) -> None:
        stream.receiver = Http(stream) if kind == "http" else Bytes(stream)

    ListenSocket(poller, bind("127.0.0.1", port), accepted)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], int(sys.argv[2])))
