"""Two ends of TLS that trust one authority."""

from __future__ import annotations

from dataplane.net.tls import ClientTls, ServerTls, TlsContexts
from tests.support.certs import Authority
from tests.support.net import Heard, Net

URI = "spiffe://test/ns/a/sa/server"
CLIENT = "spiffe://test/ns/a/sa/client"


def both(
    authority: Authority, *, identity: str = "", alpn: tuple[str, ...] = ("tulle-tcp",)
) -> tuple[ServerTls, ClientTls]:
    contexts = TlsContexts()
    server = contexts.server(authority.context(URI, alpn=("tulle-h2", "tulle-tcp")))
    return server, contexts.client(authority.context(CLIENT), alpn, identity)


def dial(n: Net, port: int, client: ClientTls, timeout: float = 5.0) -> Heard:
    heard = Heard()
    heard.stream = n.dialer.dial("127.0.0.1", port, heard, tls=client, timeout=timeout)
    return heard
