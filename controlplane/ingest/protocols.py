"""Which protocol a Service port is declared to speak, by the rules Istio's users know.

In: a port's `appProtocol`, name and number, and the ports annotated opaque. Out: a Protocol. Order: opaque annotation, `appProtocol`,
name prefix (`http-web`), a port where servers speak first, else AUTO. An unknown word declares nothing and is no mistake.
"""

from __future__ import annotations

from collections.abc import Container

from controlplane.model.services import Protocol

_WORDS = {
    "http": Protocol.HTTP,
    "http1": Protocol.HTTP,
    "ws": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    # gRPC-Web is HTTP/1.1 or 2 as the browser likes, with its trailers in the body.
    "grpc-web": Protocol.HTTP,
    "https": Protocol.TLS,
    "tls": Protocol.TLS,
    "wss": Protocol.TLS,
    "tcp": Protocol.TCP,
    "mongo": Protocol.TCP,
    "mongodb": Protocol.TCP,
    "mysql": Protocol.TCP,
    "postgres": Protocol.TCP,
    "postgresql": Protocol.TCP,
    "redis": Protocol.TCP,
    "amqp": Protocol.TCP,
    "kafka": Protocol.TCP,
    "smtp": Protocol.TCP,
}
_SERVER_FIRST = frozenset({25, 53, 3306, 27017})
"""SMTP, DNS over TCP, MySQL, MongoDB: waiting for the client's first bytes would wait in vain."""
_KUBERNETES = "kubernetes.io/"


def protocol_of(app_protocol: str, name: str, port: int, opaque: Container[int] = frozenset()) -> Protocol:
    """Tell what is declared for a port."""
    if port in opaque:
        return Protocol.TCP
    word = app_protocol.lower().removeprefix(_KUBERNETES)
    declared = _WORDS.get(word) or _by_name(name.lower())
    if declared is not None:
        return declared
    return Protocol.TCP if port in _SERVER_FIRST else Protocol.AUTO


def _by_name(name: str) -> Protocol | None:
    """Read `<protocol>` or `<protocol>-<anything>`; `grpc-web` is a protocol of its own."""
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return _WORDS["grpc-web"]
    return _WORDS.get(name.partition("-")[0])
