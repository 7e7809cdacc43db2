"""Every response the proxy makes itself: its status, its word in `x-tulle-error`, and one sentence.

In: which refusal, and whether the client speaks gRPC. Out: a status, a header list and a body; for gRPC a
trailers-only response (HTTP 200 with `grpc-status`), as the gRPC protocol has it. All of it is made once, at import.
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.protocol.events import Headers
from dataplane.telemetry import flags

DEADLINE_EXCEEDED: Final = 4
PERMISSION_DENIED: Final = 7
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

_UNSAID = re.compile(rb"[^ -$&-~]")
"""What is percent-encoded in `grpc-message` (gRPC over HTTP/2, "Status-Message")."""
_LONGEST = 500
"""Characters of a sentence about configuration that clients are told."""


class Refusal:
    """One reason to answer instead of the server."""

    __slots__ = ("body", "flag", "grpc_headers", "grpc_status", "headers", "status", "word")

    def __init__(self, word: str, status: int, flag: int, sentence: str, grpc_status: int = UNAVAILABLE) -> None:
        self.word = word
        """The value of `x-tulle-error` and of the counter."""
        self.status = status
        self.flag = flag
        self.grpc_status = grpc_status
        self.body = sentence.encode() + b"\n"
        named = (b"x-tulle-error", word.encode(), b"x-tulle-error")
        self.headers: Headers = [
            _field(b"content-type", b"text/plain; charset=utf-8"),
            _field(b"content-length", b"%d" % len(self.body)),
            named,
        ]
        self.grpc_headers: Headers = [
            _field(b"content-type", b"application/grpc"),
            _field(b"grpc-status", b"%d" % grpc_status),
            _field(b"grpc-message", b"%s: %s" % (word.encode(), _UNSAID.sub(_percent, sentence.encode()))),
            named,
        ]

    def as_http1(self, phrase: bytes) -> bytes:
        """Write it as an HTTP/1 answer to what was no request yet; the connection ends with it."""
        lines = [
            b"HTTP/1.1 %d %s" % (self.status, phrase),
            *(b"%s: %s" % (field[2], field[1]) for field in self.headers),
        ]
        return b"\r\n".join((*lines, b"connection: close", b"", self.body))

    def because(self, reason: str) -> Refusal:
        """Return the same refusal with what was wrong at its end, where that is known."""
        if not reason:
            return self
        return Refusal(self.word, self.status, self.flag, f"{_sentence(self).rstrip('.')}: {reason}.", self.grpc_status)

    def at(self, status: int) -> Refusal:
        """Return the same refusal with a status the route asks for."""
        if status == self.status:
            return self
        return Refusal(self.word, status, self.flag, _sentence(self), self.grpc_status)


def _sentence(refusal: Refusal) -> str:
    return refusal.body.decode().rstrip("\n")


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return (name, value, name)


def lacking(refusal: Refusal, sentence: str | None) -> Refusal:
    """Say of what is not there why it was refused, where that is known: with the sentence the control plane was told."""
    if sentence is None:
        return refusal
    said = Refusal(REFUSED_CONFIGURATION.word, refusal.status, refusal.flag, _sentence(REFUSED_CONFIGURATION))
    return said.because(sentence[:_LONGEST])


NO_ROUTE: Final = Refusal(
    "route_not_found", 404, flags.NO_ROUTE, "No route of this destination matches the request.", UNIMPLEMENTED
)
NO_ROUTE_TABLE: Final = Refusal(
    "route_table_missing", 503, flags.NO_ROUTE, "The routes of this destination have not arrived yet."
)
NO_CLUSTER: Final = Refusal(
    "cluster_not_found", 503, flags.NO_CLUSTER, "The route names a backend that does not exist."
)
REFUSED_CONFIGURATION: Final = Refusal(
    "refused_configuration", 503, flags.NO_CLUSTER, "What the control plane sent for this cannot be used."
)
INVALID_BACKEND: Final = Refusal(
    "backend_not_found", 500, flags.NO_CLUSTER, "The route's backend does not resolve.", UNAVAILABLE
)
NO_HEALTHY: Final = Refusal("no_healthy_upstream", 503, flags.NO_HEALTHY, "The service has no ready endpoint.")
CONNECT_FAILED: Final = Refusal(
    "upstream_connect_failed", 503, flags.CONNECT_FAILED, "No connection to an endpoint of the service could be made."
)
PENDING_FULL: Final = Refusal(
    "pending_overflow",
    503,
    flags.OVERFLOW,
    "Too many requests wait for a connection to the service.",
)
REQUESTS_FULL: Final = Refusal(
    "requests_overflow",
    503,
    flags.OVERFLOW,
    "The service has as many requests in flight as it may.",
)
WAITED: Final = Refusal(
    "connection_wait_timeout",
    503,
    flags.OVERFLOW,
    "No further connection to the service could be opened, and none became free in the time connecting may take.",
)
OVERLOADED: Final = Refusal("overloaded", 503, flags.SHED, "The sidecar has more to do than it can.")
UPSTREAM_ENDED: Final = Refusal(
    "upstream_connection_ended", 503, flags.CONNECTION_ENDED, "The server closed the connection before it answered."
)
UPSTREAM_RESET: Final = Refusal("upstream_reset", 503, flags.RESET, "The server reset the request before it answered.")
BAD_UPSTREAM: Final = Refusal(
    "upstream_protocol_error", 502, flags.BAD_RESPONSE, "The server's answer broke the protocol.", INTERNAL
)
TIMED_OUT: Final = Refusal(
    "request_timeout",
    504,
    flags.TIMEOUT,
    "The server did not answer within the time the route allows.",
    DEADLINE_EXCEEDED,
)
TOO_IDLE: Final = Refusal(
    "stream_idle_timeout",
    504,
    flags.STREAM_IDLE,
    "Nothing moved for longer than the stream idle time-out.",
    DEADLINE_EXCEEDED,
)
TOO_LONG: Final = Refusal(
    "max_stream_duration",
    504,
    flags.DURATION,
    "The request with its answer took longer than a stream may.",
    DEADLINE_EXCEEDED,
)
RBAC_DENIED: Final = Refusal(
    "rbac_denied",
    403,
    flags.DENIED,
    "RBAC: access denied by the authorization rules of this workload.",
    PERMISSION_DENIED,
)
BODY_LATE: Final = Refusal(
    "slow_request_body", 408, flags.BAD_REQUEST, "The request was not whole within the time allowed.", DEADLINE_EXCEEDED
)
CONNECT_REFUSED: Final = Refusal(
    "connect_refused",
    405,
    flags.DENIED,
    "CONNECT is not carried on an HTTP port; the port of a forward proxy wants appProtocol: tcp.",
    UNIMPLEMENTED,
)

UPGRADE_REFUSED: Final = Refusal(
    "upgrade_refused", 403, flags.DENIED, "Upgrades to this protocol are switched off here.", PERMISSION_DENIED
)
ESCAPED_SLASH: Final = Refusal(
    "escaped_slash", 400, flags.BAD_REQUEST, "The path has an escaped slash, which is not allowed here.", INTERNAL
)
HEAD_LATE: Final = Refusal(
    "slow_request_head",
    408,
    flags.BAD_REQUEST,
    "The request head was not whole within the time allowed.",
    DEADLINE_EXCEEDED,
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))
"""Every refusal, in the order above."""
