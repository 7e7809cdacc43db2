"""The TLS library as `ssl` itself has it beneath: contexts, and connections in memory.

In: contexts, and where a connection reads and writes its ciphertext. Out: connections, and the errors they raise. `ssl` turns the library's constants into
enumerations and puts classes around both, which is 0.5 MB of each sidecar; a proxy has a use for neither (decision 0028).
Refuses what the library refuses.
"""

from __future__ import annotations

import _ssl
from _ssl import (
    CERT_NONE,
    CERT_REQUIRED,
    OPENSSL_VERSION_INFO,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    MemoryBIO,
    SSLError,
    SSLWantReadError,
    SSLZeroReturnError,
)
from _ssl import PROTO_TLSv1_3 as TLS13
from _ssl import _SSLContext as Context
from typing import Any

__all__ = [
    "CERT_NONE",
    "CERT_REQUIRED",
    "OPENSSL_VERSION_INFO",
    "PROTOCOL_TLS_CLIENT",
    "PROTOCOL_TLS_SERVER",
    "TLS13",
    "Context",
    "MemoryBIO",
    "SSLError",
    "SSLWantReadError",
    "SSLZeroReturnError",
]

FILE: str = getattr(_ssl, "__file__", "")
"""Where the library is linked in; empty where that is the interpreter itself."""


def connection(
    context: Context, incoming: MemoryBIO, outgoing: MemoryBIO, server_side: bool, server_name: str | None
) -> Any:
    """Make a connection of a context, also of one of `ssl`; a name that is not ASCII is written as DNS has it (RFC 3490)."""
    if server_name is not None and not server_name.isascii():
        server_name = server_name.encode("idna").decode("ascii")
    wrap: Any = context._wrap_bio  # type: ignore[attr-defined]  # noqa: SLF001 - the face `ssl` stands on
    return wrap(incoming, outgoing, server_side, server_name)


def offer(context: Context, protocols: tuple[str, ...]) -> None:
    """Have a context's connections agree on one of these protocols (RFC 7301), the first one best."""
    named = [name.encode("ascii") for name in protocols]
    context._set_alpn_protocols(b"".join(bytes([len(name)]) + name for name in named))  # type: ignore[attr-defined]  # noqa: SLF001 - as above
