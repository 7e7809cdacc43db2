"""Where a redirecting route sends the client.

In: `config.Redirect` and the request's parts. Out: the `Location` value. A part the route does not name is the
request's own; the port is left out when it is the scheme's default.
"""

from __future__ import annotations

from dataplane.config import Redirect, RouteMatch
from dataplane.protocol.events import RequestHead
from dataplane.tables.paths import normal_path

_DEFAULT_PORTS = {"http": 80, "https": 443}


def location(redirect: Redirect, match: RouteMatch, head: RequestHead) -> bytes:
    """Build the absolute URI the client should ask."""
    scheme = redirect.scheme or head.scheme.decode("latin-1")
    host, port = _split(head.authority.decode("latin-1"))
    if redirect.host is not None:
        host = redirect.host
    if redirect.port is not None:
        port = redirect.port
    elif redirect.scheme is not None:
        port = None
    shown = "" if port is None or port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{host}{shown}".encode("latin-1") + _path(redirect, match, head.path)


def _path(redirect: Redirect, match: RouteMatch, path: bytes) -> bytes:
    bare, mark, query = path.partition(b"?")
    if redirect.path is not None:
        return redirect.path.encode() + mark + query
    if redirect.prefix is None:
        return path
    bare = normal_path(bare)
    matched = (match.separated_prefix or match.prefix or match.path or "").rstrip("/").encode()
    rest = bare[len(matched) :] if bare.startswith(matched) else b""
    start = redirect.prefix.rstrip("/").encode()
    joined = start + (rest if not rest or rest.startswith(b"/") else b"/" + rest)
    return (joined or b"/") + mark + query


def _split(authority: str) -> tuple[str, int | None]:
    host, colon, port = authority.rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host, int(port)
    return authority, None
