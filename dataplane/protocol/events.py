"""What a codec tells its driver: one small class an event, told apart by the integer `kind`.

In: built by codecs only. Out: `Codec.receive()` returns them in wire order; `stream` is 0 for the connection itself.
Header lists are plain lists of `(name in lower case, value, name as received)`.
"""

from typing import Final

REQUEST: Final = 1
RESPONSE: Final = 2
DATA: Final = 3
TRAILERS: Final = 4
RESET: Final = 5
GOAWAY: Final = 6
WRITABLE: Final = 7
SETTINGS: Final = 8
FAILURE: Final = 9
UPGRADED: Final = 10
PONG: Final = 11

Header = tuple[bytes, bytes, bytes]
Headers = list[Header]


class Event:
    """What all events have."""

    __slots__ = ("kind", "stream")

    kind: int
    """One of the constants above; dispatch on it."""
    stream: int
    """The stream it is about, 0 for the whole connection."""

    def _values(self) -> tuple[object, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Event):
            return False
        return self.stream == other.stream and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inner = ", ".join(repr(value) for value in (self.stream, *self._values()))
        return f"{type(self).__name__}({inner})"


class RequestHead(Event):
    """A request's line and fields (RFC 9110, section 6.2).

    `Host` is no field here: it is `authority`. Hop-by-hop fields are already taken out, `Upgrade` is `protocol`.
    """

    __slots__ = ("absolute", "authority", "end", "headers", "method", "path", "protocol", "scheme", "version")

    method: bytes
    scheme: bytes
    authority: bytes
    """Host and port as the client named them; empty only for HTTP/1.0 without Host."""
    path: bytes
    """Path and query; `*` for OPTIONS, empty for a plain CONNECT."""
    headers: Headers
    end: bool
    """No body follows. Always false for CONNECT and for requests with a `protocol`."""
    version: int
    """10, 11 or 20."""
    protocol: bytes
    """Upgrade token, or `:protocol` of an extended CONNECT (RFC 8441), lower case; else empty."""
    absolute: bool
    """The target was a whole URI, as to a forward proxy (RFC 9112, section 3.2.2), and is one again on HTTP/1."""

    def __init__(  # noqa: PLR0913, PLR0917 - a request line has that many parts
        self,
        stream: int,
        method: bytes,
        scheme: bytes,
        authority: bytes,
        path: bytes,
        headers: Headers,
        end: bool,
        version: int = 11,
        protocol: bytes = b"",
    ) -> None:
        self.kind = REQUEST
        self.stream = stream
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.path = path
        self.headers = headers
        self.end = end
        self.version = version
        self.protocol = protocol
        self.absolute = False

    def _values(self) -> tuple[object, ...]:
        where = (self.method, self.scheme, self.authority, self.path)
        return (*where, self.headers, self.end, self.version, self.protocol)


class ResponseHead(Event):
    """A status line and fields; informational ones (1xx) come as such, before the final one, with `end` false."""

    __slots__ = ("end", "headers", "reason", "status", "version")

    status: int
    reason: bytes
    headers: Headers
    end: bool
    """No body follows."""
    version: int

    def __init__(  # noqa: PLR0913, PLR0917 - a status line has that many parts
        self, stream: int, status: int, reason: bytes, headers: Headers, end: bool, version: int = 11
    ) -> None:
        self.kind = RESPONSE
        self.stream = stream
        self.status = status
        self.reason = reason
        self.headers = headers
        self.end = end
        self.version = version

    def _values(self) -> tuple[object, ...]:
        return (self.status, self.reason, self.headers, self.end, self.version)


class Data(Event):
    """A piece of a body, or of a tunnel after `Upgraded`; `end` may come with no bytes."""

    __slots__ = ("data", "end")

    data: bytes
    end: bool

    def __init__(self, stream: int, data: bytes, end: bool) -> None:
        self.kind = DATA
        self.stream = stream
        self.data = data
        self.end = end

    def _values(self) -> tuple[object, ...]:
        return (self.data, self.end)


class Trailers(Event):
    """Fields after the body; they end the message."""

    __slots__ = ("headers",)

    headers: Headers

    def __init__(self, stream: int, headers: Headers) -> None:
        self.kind = TRAILERS
        self.stream = stream
        self.headers = headers

    def _values(self) -> tuple[object, ...]:
        return (self.headers,)


class Reset(Event):
    """The stream died before its end: the peer reset it, broke its rules, or the connection was lost."""

    __slots__ = ("code", "reason")

    code: int
    """An error code of `codes`; REFUSED_STREAM means it is safe to retry."""
    reason: str

    def __init__(self, stream: int, code: int, reason: str) -> None:
        self.kind = RESET
        self.stream = stream
        self.code = code
        self.reason = reason

    def _values(self) -> tuple[object, ...]:
        return (self.code, self.reason)


class Goaway(Event):
    """The peer takes no stream above `last_stream`; those already sent above it are reset as REFUSED_STREAM."""

    __slots__ = ("code", "last_stream")

    last_stream: int
    code: int

    def __init__(self, last_stream: int, code: int) -> None:
        self.kind = GOAWAY
        self.stream = 0
        self.last_stream = last_stream
        self.code = code

    def _values(self) -> tuple[object, ...]:
        return (self.last_stream, self.code)


class Writable(Event):
    """What waited for the peer's window fell to the low mark: the source may be read again."""

    __slots__ = ()

    def __init__(self, stream: int) -> None:
        self.kind = WRITABLE
        self.stream = stream


class SettingsChanged(Event):
    """The peer told how many streams it takes at once."""

    __slots__ = ("max_streams",)

    max_streams: int

    def __init__(self, max_streams: int) -> None:
        self.kind = SETTINGS
        self.stream = 0
        self.max_streams = max_streams

    def _values(self) -> tuple[object, ...]:
        return (self.max_streams,)


class Failure(Event):
    """The peer broke the protocol or a limit: flush `output()`, close. Every open stream is dead without a Reset."""

    __slots__ = ("code", "counter", "reason", "status")

    code: int
    """An error code of `codes`."""
    status: int
    """The HTTP status that says it best."""
    reason: str
    """One sentence for the log: what came, what would be right."""
    counter: str
    """The metric label of the rule or limit broken, for example `http1_header_bytes`."""

    def __init__(self, code: int, status: int, reason: str, counter: str) -> None:
        self.kind = FAILURE
        self.stream = 0
        self.code = code
        self.status = status
        self.reason = reason
        self.counter = counter

    def _values(self) -> tuple[object, ...]:
        return (self.code, self.status, self.reason, self.counter)


class Upgraded(Event):
    """The HTTP/1 connection is a tunnel from here on: raw bytes come as Data and go by `send_data`."""

    __slots__ = ("protocol",)

    protocol: bytes
    """The agreed token, empty after CONNECT."""

    def __init__(self, stream: int, protocol: bytes) -> None:
        self.kind = UPGRADED
        self.stream = stream
        self.protocol = protocol

    def _values(self) -> tuple[object, ...]:
        return (self.protocol,)


class Pong(Event):
    """The peer answered our `ping()`."""

    __slots__ = ("data",)

    data: bytes
    """The eight bytes sent."""

    def __init__(self, data: bytes) -> None:
        self.kind = PONG
        self.stream = 0
        self.data = data

    def _values(self) -> tuple[object, ...]:
        return (self.data,)
