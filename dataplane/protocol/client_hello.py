"""Read the server name and the ALPN list from a TLS ClientHello without taking part in the handshake.

In: a connection's first bytes. Out: a `ClientHello`, whose `state` says whether it is whole. Refuses nothing aloud: bytes
that are no ClientHello, or one beyond the bound, are NOT_TLS (RFC 8446, sections 4.1.2 and 5.1; RFC 6066; RFC 7301).
"""

from typing import Final

from meshapi.records import record

NEED_MORE: Final = 0
NOT_TLS: Final = 1
COMPLETE: Final = 2

LONGEST: Final = 64 * 1024
"""Bytes of ClientHello read at most; real ones with post-quantum keys have about 2 KB."""

_MOST_RECORDS: Final = 256
"""Records a hello may be cut into; real ones use one, those that hide from middleboxes a few."""

_SERVER_NAME = 0
_ALPN = 16


@record(kw_only=False)
class ClientHello:
    """What a client says it wants."""

    state: int
    """NEED_MORE, NOT_TLS or COMPLETE; the rest counts only when COMPLETE."""
    server_name: bytes = b""
    """The SNI host name in lower case, or empty."""
    alpn: tuple[bytes, ...] = ()
    """The offered protocols, best first."""


class _BrokenError(Exception):
    """A length points outside of what holds it."""


def parse(data: bytes) -> ClientHello:
    """Read what has arrived so far; call again with more bytes while `state` is NEED_MORE."""
    message = b""
    at = 0
    for _ in range(_MOST_RECORDS):
        header = data[at : at + 5]
        if any(have != want for have, want in zip(header, b"\x16\x03", strict=False)):
            return ClientHello(NOT_TLS)
        if len(header) < 5:
            return ClientHello(NEED_MORE)
        size = int.from_bytes(header[3:5], "big")
        if size == 0 or size > 16384 or at > LONGEST:
            return ClientHello(NOT_TLS)
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
        whole = _message_size(message)
        if whole < 0 or whole > LONGEST:
            return ClientHello(NOT_TLS)
        if len(message) >= whole > 0:
            return _body(message[4:whole])
        if at > len(data):
            return ClientHello(NEED_MORE)
    return ClientHello(NOT_TLS)


def _message_size(message: bytes) -> int:
    """Size of the handshake message with its header: 0 while unknown, -1 if it is no ClientHello."""
    if message and message[0] != 1:
        return -1
    return 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 0


def _body(body: bytes) -> ClientHello:
    try:
        at = 34  # version and random
        _, at = _vector(body, at, 1)  # session id
        _, at = _vector(body, at, 2)  # cipher suites
        _, at = _vector(body, at, 1)  # compression methods
        extensions, _ = _vector(body, at, 2) if at < len(body) else (b"", at)
        return _extensions(extensions)
    except _BrokenError:
        return ClientHello(NOT_TLS)


def _extensions(extensions: bytes) -> ClientHello:
    name = b""
    alpn: list[bytes] = []
    at = 0
    while at < len(extensions):
        if at + 4 > len(extensions):
            raise _BrokenError
        kind = int.from_bytes(extensions[at : at + 2], "big")
        content, at = _vector(extensions, at + 2, 2)
        if kind == _SERVER_NAME:
            name = _server_name(content)
        elif kind == _ALPN:
            names, _ = _vector(content, 0, 2)
            inner = 0
            while inner < len(names):
                protocol, inner = _vector(names, inner, 1)
                alpn.append(protocol)
    return ClientHello(COMPLETE, name, tuple(alpn))


def _server_name(content: bytes) -> bytes:
    names, _ = _vector(content, 0, 2)
    if not names or names[0] != 0:
        return b""
    host, _ = _vector(names, 1, 2)
    return host.lower()


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Read a length of `width` bytes and that many bytes after it; also return where they end."""
    start = at + width
    if start > len(data):
        raise _BrokenError
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data):
        raise _BrokenError
    return data[start:end], end
