"""Upgrades across HTTP versions: `Upgrade` and 101 on HTTP/1, extended CONNECT and 200 on HTTP/2 (RFC 8441).

In: a request head with a `protocol`, or the server's consent to it. Out: the head in the other version's form. Only
WebSocket's handshake fields differ between the two: the key is made or answered here, since HTTP/2 has none.
"""

from __future__ import annotations

import base64
import os

from dataplane.protocol.events import Headers, RequestHead
from dataplane.protocol.fields import get

_KEY = b"sec-websocket-key"
_ACCEPT = b"sec-websocket-accept"
_LENGTH = b"content-length"
"""Of a body; a tunnel in HTTP/2 has none, and its bytes would be counted against it."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def translate(head: RequestHead, *, http2: bool) -> RequestHead:
    """Return the head in the form the server's version has for upgrades."""
    if http2:
        return head if head.version >= 20 else as_connect(head)
    return as_upgrade(head) if head.version >= 20 else head


def as_upgrade(head: RequestHead) -> RequestHead:
    """Turn an extended CONNECT into the HTTP/1 request that asks for the same."""
    headers = [field for field in head.headers if field[0] != _LENGTH]
    if head.protocol == b"websocket" and get(headers, _KEY) is None:
        key = base64.b64encode(os.urandom(16))
        headers.append((_KEY, key, b"Sec-WebSocket-Key"))
    return RequestHead(0, b"GET", head.scheme, head.authority, head.path, headers, False, 11, head.protocol)


def as_connect(head: RequestHead) -> RequestHead:
    """Turn an HTTP/1 upgrade into an extended CONNECT."""
    headers = [field for field in head.headers if field[0] not in {_KEY, _LENGTH}]
    return RequestHead(0, b"CONNECT", head.scheme, head.authority, head.path, headers, False, 20, head.protocol)


def switched(head: RequestHead, headers: Headers) -> Headers:
    """Return the fields of the 101 an HTTP/1 client expects, when the server consented in HTTP/2."""
    key = get(head.headers, _KEY)
    kept = [field for field in headers if field[0] not in {_LENGTH, _ACCEPT}]
    if head.protocol == b"websocket" and key is not None:
        kept.append((_ACCEPT, accept(key), b"Sec-WebSocket-Accept"))
    return kept


def established(headers: Headers) -> Headers:
    """Return the fields of the 200 an HTTP/2 client expects, when the server consented by 101."""
    return [field for field in headers if field[0] not in {_LENGTH, _ACCEPT}]


def accept(key: bytes) -> bytes:
    """Answer a WebSocket key (RFC 6455, section 4.2.2)."""
    import hashlib  # noqa: PLC0415 - three libraries that only a WebSocket from one version to the other needs

    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
