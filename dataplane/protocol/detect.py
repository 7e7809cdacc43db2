"""Which protocol a connection speaks, from its first bytes, without ever waiting longer than the client makes us.

In: what has arrived so far, of a protocol where the client speaks first. Out: one of five answers; NEED_MORE only while
the bytes are the beginning of something known. Refuses nothing: what is not known is OPAQUE and relayed as it is.
"""

from typing import Final

from dataplane.protocol.chars import TOKEN
from dataplane.protocol.http2.frames import PREFACE as PREFACE  # noqa: PLC0414 - who asks what speaks asks for it here

NEED_MORE: Final = 0
TLS: Final = 1
HTTP1: Final = 2
HTTP2: Final = 3
OPAQUE: Final = 4

LONGEST_LINE: Final = 16 * 1024
"""A first line longer than this is no request line we would take."""

_LONGEST_METHOD = 24
_CONTROLS: Final = bytes(range(32))


def classify(first: bytes) -> int:
    """Name the protocol that begins with these bytes.

    HTTP/1 is known by its whole request line: `GET key` is also what Redis and memcached clients say.
    """
    if not first:
        return NEED_MORE
    if first[0] == 0x16:
        return _tls(first)
    if first[0] == 0x50:  # "P": the preface, POST, PUT, PATCH
        known = first[: len(PREFACE)]
        if PREFACE.startswith(known):
            return HTTP2 if len(known) == len(PREFACE) else NEED_MORE
    return _http1(first)


def _tls(first: bytes) -> int:
    """Look at the record header (RFC 8446, section 5.1) and the handshake type after it."""
    if len(first) < 2:
        return NEED_MORE
    if first[1] != 3 or (len(first) > 2 and first[2] > 4) or (len(first) > 5 and first[5] != 1):
        return OPAQUE
    return TLS if len(first) > 5 else NEED_MORE


def _http1(first: bytes) -> int:
    space = first.find(b" ", 0, _LONGEST_METHOD + 1)
    method = first[: space if space >= 0 else _LONGEST_METHOD + 1]
    if not method or any(not TOKEN[c] or 97 <= c <= 122 for c in method):
        return OPAQUE
    if space < 0:
        return NEED_MORE if len(first) <= _LONGEST_METHOD else OPAQUE
    end = first.find(b"\n", space, LONGEST_LINE)
    line = first[space : end if end >= 0 else LONGEST_LINE].removesuffix(b"\r")
    if len(line.translate(None, _CONTROLS)) < len(line):  # by C's speed: it may be asked again for every byte
        return OPAQUE
    if end >= 0:
        return HTTP1 if b" HTTP/" in line else OPAQUE
    return NEED_MORE if len(first) < LONGEST_LINE else HTTP1
