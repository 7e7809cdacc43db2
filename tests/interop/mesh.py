"""Sidecars from files: one that takes every kind of traffic, and a pair with mutual TLS between the two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshapi import names
from tests.support.peers import envoy_from_file
from tests.support.ports import free_ports
from tests.support.sidecar import (
    HTTP_ALPN,
    Identities,
    Json,
    Sidecar,
    chain,
    cluster,
    http,
    listener,
    sidecar,
    tcp,
    to,
    write,
)


@contextmanager
def plain_proxy(directory: Path) -> Iterator[tuple[Sidecar, dict[str, int]]]:
    """Run a sidecar without TLS.

    Listeners: `any` (HTTP as the client speaks it), `one` (to HTTP/1), `two` (to HTTP/2), `both` (HTTP/2 to two servers), `tcp` (declared),
    `detect` (HTTP or not, found out). Servers: `app` behind the first three and the last two, `app2` beside it for `both`.
    """
    kinds = ("any", "one", "two", "both", "tcp", "detect", "app", "app2")
    ports = dict(zip(kinds, free_ports(len(kinds)), strict=True))
    app = ports["app"]
    clusters = [
        cluster("any", app, protocol="any"),
        cluster("one", app),
        cluster("two", app, protocol="http2"),
        cluster("both", app, ports["app2"], protocol="http2"),
    ]
    listeners = [
        *(listener(kind, ports[kind], chain(http([to(kind)]))) for kind in ("any", "one", "two", "both")),
        listener("tcp", ports["tcp"], chain(tcp("one"))),
        detecting("detect", ports["detect"], "any", "one"),
    ]
    with sidecar(write(directory / "proxy.json", listeners, clusters), directory) as made:
        yield made, ports


def detecting(name: str, port: int, http_cluster: str, tcp_cluster: str) -> Json:
    """A listener that finds out whether it is HTTP; two seconds of silence on both sides make it TCP."""
    chains = [chain(http([to(http_cluster)]), transport_protocol="raw_buffer", application_protocols=list(HTTP_ALPN))]
    # As in Envoy the most specific transport decides first, so both chains name it.
    opaque = chain(tcp(tcp_cluster), transport_protocol="raw_buffer")
    return listener(name, port, *chains, opaque, inspect=("http",), listener_filters_timeout="2s")


@dataclass(frozen=True)
class MeshPair:
    """Where clients dial, where the server listens, and the two between."""

    ports: dict[str, int]
    outbound: Sidecar | None
    inbound: Sidecar | None


PAIR = ("any", "tcp", "http-in", "tcp-in", "app")


def outbound(ports: dict[str, int], identities: Identities, *, envoy: bool = False) -> tuple[list[Json], list[Json]]:
    """The client's side: `any` for HTTP, `tcp` for the rest. Envoy has to be told to speak HTTP/2, ours does so in the mesh."""
    h2, opaque = identities.client(names.ALPN_H2), identities.client(names.ALPN_TCP)
    http_cluster = (
        cluster("http", ports["http-in"], protocol="http2", tls=h2)
        if envoy
        else cluster("http", ports["http-in"], protocol="any", mesh=identities.client(names.ALPN_H2, names.ALPN_HTTP1))
    )
    tcp_cluster = cluster("tcp", ports["tcp-in"], tls=opaque) if envoy else cluster("tcp", ports["tcp-in"], mesh=opaque)
    listeners = [
        listener("any", ports["any"], chain(http([to("http")]))),
        listener("tcp", ports["tcp"], chain(tcp("tcp"))),
    ]
    return listeners, [http_cluster, tcp_cluster]


def inbound(
    ports: dict[str, int], identities: Identities, *, envoy: bool = False, app: str = "any"
) -> tuple[list[Json], list[Json]]:
    """The server's side: `http-in` and `tcp-in`, both of mesh TLS only, to `app`."""
    more = {"codec_type": "HTTP2"} if envoy else {}
    offered = [names.ALPN_H2] if envoy else [names.ALPN_H2, names.ALPN_HTTP1]
    secured = {"tls": identities.server(*offered), "transport_protocol": "tls", "application_protocols": offered}
    opaque = {
        "tls": identities.server(names.ALPN_TCP),
        "transport_protocol": "tls",
        "application_protocols": [names.ALPN_TCP],
    }
    inspect = ("tls",)
    listeners = [
        listener("http-in", ports["http-in"], chain(http([to("app")], **more), **secured), inspect=inspect),
        listener("tcp-in", ports["tcp-in"], chain(tcp("app"), **opaque), inspect=inspect),
    ]
    return listeners, [cluster("app", ports["app"], protocol=app)]


@contextmanager
def mesh_pair(directory: Path, *, client: str = "tulle", server: str = "tulle", app: str = "any") -> Iterator[MeshPair]:
    """Run the two; either may be Envoy."""
    ports = dict(zip(PAIR, free_ports(len(PAIR)), strict=True))
    identities = Identities()
    out = write(directory / "outbound.json", *outbound(ports, identities, envoy=client == "envoy"))
    within = write(directory / "inbound.json", *inbound(ports, identities, envoy=server == "envoy", app=app))
    with (
        one(server, within, directory, ports["http-in"], ports["tcp-in"]) as last,
        one(client, out, directory, ports["any"], ports["tcp"], pooled=4) as first,
    ):
        yield MeshPair(ports, first, last)


@contextmanager
def one(kind: str, config: Path, directory: Path, *ports: int, pooled: int = 0) -> Iterator[Sidecar | None]:
    """Run a proxy of a kind; an outbound one keeps some connections to the inbound one, which lives longer."""
    if kind == "envoy":
        with envoy_from_file(config, directory, *ports):
            yield None
    else:
        with sidecar(config, directory, pooled) as made:
            yield made
