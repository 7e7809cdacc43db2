"""What a request head tells the proxy, and what this hop adds to it, in one walk over the list.

In: the header list of a request (hop-by-hop fields are the codecs' and not in it). Out: the same list with
`x-forwarded-for` appended, `x-forwarded-proto` set (if it is missing, or where nobody before us is trusted), an `x-request-id` where
it has none, and Tulle's own headers taken out, as is what a client claims to be the certificate of another
(`x-forwarded-client-cert`; Envoy's SANITIZE, its default); `HeadNotes` holds what was seen. Apps can never set Tulle's headers: whatever they send under those names ends here.
"""

from __future__ import annotations

import os

from dataplane.protocol.events import Headers, RequestHead
from dataplane.protocol.fields import add_forwarded_for, get, set_value

_BATCH = 256
"""Request ids made at once."""

ORIGINAL = b"x-tulle-original-protocol"
"""The version the client's app spoke, between sidecars only (decision 0004)."""
PEER = b"x-tulle-peer"
"""Telemetry labels of the sending workload, on the first request of a connection between sidecars."""

_WAS_HTTP11 = (ORIGINAL, b"HTTP/1.1", ORIGINAL)
_WAS_HTTP10 = (ORIGINAL, b"HTTP/1.0", ORIGINAL)
_WAS_ABSOLUTE = (ORIGINAL, b"HTTP/1.1 absolute", ORIGINAL)


class HeadNotes:
    """What the last walk found; one object serves all requests of a runtime."""

    __slots__ = ("_fresh", "_ids", "_taken", "grpc", "original", "peer", "request_id")

    def __init__(self) -> None:
        self._fresh = b""
        """How the ids of a batch begin; `_ids` are their ends, of which so many are taken."""
        self._ids = b""
        self._taken = _BATCH
        self.request_id = b""
        self.original = b""
        self.peer = b""
        self.grpc = False

    def request(self, headers: Headers, address: bytes, proto: bytes, edge: bool) -> None:
        """Walk a request's fields; `address` is appended to `x-forwarded-for` unless it is empty.

        `proto` is what the connection speaks; at the `edge` it is also told where the client claims another.
        """
        self.request_id = self.original = self.peer = b""
        self.grpc = several = told = False
        forwarded_at = -1
        count = len(headers)
        index = -1
        while index + 1 < count:
            index += 1
            field = headers[index]
            name = field[0]
            n = len(name)
            if n < 9:
                continue
            p = name
            if p[0] == 120 and p[1] == 45:  # "x-"
                if p[2] == 116 and p[3] == 117 and name.startswith(b"x-tulle-"):
                    self._own(name, field[1])
                    del headers[index]
                    index -= 1
                    count -= 1
                elif n == 12:
                    if name == b"x-request-id" and not self.request_id:
                        self.request_id = field[1]
                elif n == 15:
                    if name == b"x-forwarded-for":
                        several = several or forwarded_at >= 0
                        forwarded_at = index
                elif n == 17 and name == b"x-forwarded-proto":
                    told = True
                elif n == 23 and name == b"x-forwarded-client-cert":
                    del headers[index]
                    index -= 1
                    count -= 1
            elif n == 12 and p[0] == 99 and name == b"content-type":
                value = field[1]
                self.grpc = value.startswith(b"application/grpc") and not value.startswith(b"application/grpc-web")
        if address:
            self._append_address(headers, forwarded_at, several, address)
        if not told:
            headers.append((b"x-forwarded-proto", proto, b"x-forwarded-proto"))
        elif edge:
            set_value(headers, b"x-forwarded-proto", proto)
        if not self.request_id:
            self.request_id = self._make_id()
            headers.append((b"x-request-id", self.request_id, b"x-request-id"))

    def _make_id(self) -> bytes:
        """Make a request id in UUID form: 80 random bits a batch, 48 a request (nobody reads the version bits)."""
        if self._taken >= _BATCH:
            fresh = os.urandom(10 + 6 * _BATCH).hex().encode()
            self._fresh = b"-".join((fresh[:8], fresh[8:12], fresh[12:16], fresh[16:20], b""))
            self._ids = fresh[20:]
            self._taken = 0
        at = self._taken * 12
        self._taken += 1
        p = self._ids
        return self._fresh + p[at : at + 12]

    def _append_address(self, headers: Headers, at: int, several: bool, address: bytes) -> None:
        if at < 0:
            headers.append((b"x-forwarded-for", address, b"x-forwarded-for"))
        elif several:
            add_forwarded_for(headers, address)
        else:
            old = headers[at]
            headers[at] = (old[0], old[1] + b", " + address, old[2])

    def _own(self, name: bytes, value: bytes) -> None:
        """Note one of Tulle's own headers."""
        if name == ORIGINAL:
            self.original = value
        elif name == PEER:
            self.peer = value


def strip_own(headers: Headers) -> None:
    """Take Tulle's own fields out of what an app or a stranger sent."""
    for field in headers:
        if field[0].startswith(b"x-tulle-"):
            headers[:] = [kept for kept in headers if not kept[0].startswith(b"x-tulle-")]
            return


def introduce(head: RequestHead, http1_origin: bool, peer: bytes) -> int:
    """Append what only another sidecar reads; return how many fields, for them to be taken off again once they are sent."""
    headers = head.headers
    added = 0
    if http1_origin:
        headers.append(_WAS_HTTP10 if head.version == 10 else _WAS_ABSOLUTE if head.absolute else _WAS_HTTP11)
        added = 1
    if peer:
        headers.append((PEER, peer, PEER))
        added += 1
    return added


def grpc_status(headers: Headers) -> int:
    """Read how a gRPC call ended; -1 where that is not said, 30 for what no number is known of."""
    value = get(headers, b"grpc-status")
    if value is not None and value.isdigit() and len(value) < 3:
        return min(int(value), 30)
    return -1
