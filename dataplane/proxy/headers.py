"""What a request head tells the proxy, and what this hop adds to it, in one walk over the list.

In: the header list of a request (hop-by-hop fields are the codecs' and not in it). Out: the same list with
`x-forwarded-for` appended, `x-forwarded-proto` set if missing and Tulle's own headers taken out; `HeadNotes` holds what
was seen. Apps can never set Tulle's headers: whatever they send under those names ends here.
"""

from __future__ import annotations

from dataplane.protocol.events import Headers
from dataplane.protocol.headers import add_forwarded_for

ORIGINAL = b"x-tulle-original-protocol"
"""The version the client's app spoke, between sidecars only (decision 0004)."""
PEER = b"x-tulle-peer"
"""Telemetry labels of the sending workload, on the first request of a connection between sidecars."""


class HeadNotes:
    """What the last walk found; one object serves all requests of a runtime."""

    __slots__ = ("grpc", "original", "peer", "request_id")

    def __init__(self) -> None:
        self.request_id = b""
        self.original = b""
        self.peer = b""
        self.grpc = False

    def request(self, headers: Headers, address: bytes, scheme: bytes) -> None:
        """Walk a request's fields; `address` is appended to `x-forwarded-for` unless it is empty."""
        self.request_id = b""
        self.grpc = False
        forwarded_at = -1
        several = False
        proto = False
        own = False
        count = len(headers)
        for index in range(count):
            field = headers[index]
            name = field[0]
            n = len(name)
            if n < 12:
                continue
            p = name
            if p[0] == 120:  # "x"
                if n == 12:
                    if name == b"x-request-id" and not self.request_id:
                        self.request_id = field[1]
                elif n == 15 and name == b"x-forwarded-for":
                    several = several or forwarded_at >= 0
                    forwarded_at = index
                elif n == 17 and name == b"x-forwarded-proto":
                    proto = True
                if p[2] == 116 and name.startswith(b"x-tulle-"):
                    own = True
            elif n == 12 and p[0] == 99 and name == b"content-type":
                self.grpc = field[1].startswith(b"application/grpc") and not field[1].startswith(
                    b"application/grpc-web"
                )
        if address:
            self._append_address(headers, forwarded_at, several, address)
        if not proto:
            headers.append((b"x-forwarded-proto", scheme, b"x-forwarded-proto"))
        self.original = b""
        self.peer = b""
        if own:
            self._own(headers)

    def _append_address(self, headers: Headers, at: int, several: bool, address: bytes) -> None:
        if at < 0:
            headers.append((b"x-forwarded-for", address, b"x-forwarded-for"))
        elif several:
            add_forwarded_for(headers, address)
        else:
            old = headers[at]
            headers[at] = (old[0], old[1] + b", " + address, old[2])

    def _own(self, headers: Headers) -> None:
        """Read Tulle's headers and take them out."""
        for field in headers:
            if field[0] == ORIGINAL:
                self.original = field[1]
            elif field[0] == PEER:
                self.peer = field[1]
        headers[:] = [field for field in headers if not field[0].startswith(b"x-tulle-")]


def append_response_edits(headers: Headers, edits: tuple[object, ...]) -> None:
    """Apply compiled response edits in order."""
    for edit in edits:
        edit.apply(headers)  # type: ignore[attr-defined]
