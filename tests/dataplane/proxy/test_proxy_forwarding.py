"""Headers of the hop: who may say what about the client, what is nobody's but ours, what passes untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import Cluster
from dataplane.protocol.events import RequestHead
from dataplane.protocol.fields import get
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
MESH = {"mesh": "spiffe://t/ns/n/sa/a", "alpn": "tulle-http/1.1"}
OUT = {"metadata": (("kind", "service"),)}
IN = {"inbound": True, "metadata": (("mode", "permissive"),)}


def sent(r: Rig, *lines: bytes, first: bytes = b"GET / HTTP/1.1", **client: Any) -> list[bytes]:
    """What the server gets of a request with these header lines."""
    r.client(**client).send(b"\r\n".join((first, b"Host: web", *lines, b"", b"")))
    return r.servers[-1].read().split(b"\r\n")


def values(lines: list[bytes], name: bytes) -> list[bytes]:
    return [line.partition(b": ")[2] for line in lines if line.lower().startswith(name + b": ")]


@pytest.mark.parametrize(
    ("http", "said", "forwarded", "proto"),
    [
        ({"use_remote_address": True}, True, [b"1.2.3.4, 10.9.9.9"], [b"http"]),
        ({"use_remote_address": True, "trusted_hops": 1}, True, [b"1.2.3.4, 10.9.9.9"], [b"https"]),
        ({"use_remote_address": True, "trusted_hops": 1}, False, [b"10.9.9.9"], [b"http"]),
        ({}, True, [b"1.2.3.4"], [b"https"]),
        ({}, False, [], [b"http"]),
    ],
    ids=["edge", "trusted hop", "trusted hop silent", "inner", "inner silent"],
)
def test_forwarded_fields_follow_envoys_rules(
    rig: MakeRig, http: dict[str, Any], said: bool, forwarded: list[bytes], proto: list[bytes]
) -> None:
    """At the edge nobody's word counts for the protocol; the address list grows, so that its end is what we saw."""
    claims = (b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https") if said else ()
    lines = sent(rig(config(http=http)), *claims)

    assert values(lines, b"x-forwarded-for") == forwarded
    assert values(lines, b"x-forwarded-proto") == proto


def test_claim_made_twice_at_the_edge_is_replaced_twice(rig: MakeRig) -> None:
    """No second line is left to be believed."""
    lines = sent(
        rig(config(http={"use_remote_address": True})),
        b"X-Forwarded-Proto: https",
        b"a: b",
        b"x-forwarded-proto: https",
    )

    assert values(lines, b"x-forwarded-proto") == [b"http"]


def test_protocol_is_what_the_connection_speaks(rig: MakeRig) -> None:
    """A `:scheme` is what a client says, and plaintext stays plaintext."""
    r = rig(config(**OUT))
    speaker = Speaker(r.client(http2=True), Http2Client(Limits()))
    speaker.do("send_request", RequestHead(0, b"GET", b"https", b"web", b"/", [], True, 20), True)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    (head,) = server.events(RequestHead)

    assert get(head.headers, b"x-forwarded-proto") == b"http"


def test_host_as_forwarded_is_the_apps_affair(rig: MakeRig) -> None:
    """As in Envoy: it is not ours to make, nor to take."""
    assert values(sent(rig(config(**OUT)), b"X-Forwarded-Host: shop"), b"x-forwarded-host") == [b"shop"]


@pytest.mark.parametrize("noun", [OUT, IN], ids=["from an app", "from outside"])
def test_own_fields_are_taken_from_nobody_but_sidecars(rig: MakeRig, noun: dict[str, Any]) -> None:
    """Not believed, not passed on, whatever their case and however many."""
    made = config(clusters=(Cluster(name="c", kind="original_dst"),), **noun)
    r = rig(made)
    lines = sent(
        r,
        b"x-tulle-original-protocol: HTTP/2",
        b"X-Tulle-Peer: evil|shop|evil|v1",
        b"x-tulle-a: 1",
        b"X-TULLE-Whatever: 2",
        target=("10.0.0.5", 80),
    )

    assert not [line for line in lines if b"tulle" in line.lower()]
    assert next(iter(r.runtime.downstreams)).peer_labels == {}


def test_own_fields_of_sidecars_end_here(rig: MakeRig) -> None:
    """The app never sees them."""
    noun = config(clusters=(Cluster(name="c", kind="original_dst"),), **IN)
    r = rig(noun)
    lines = sent(r, b"x-tulle-peer: web|shop|web|v1", target=("10.0.0.5", 80), **MESH)

    assert not [line for line in lines if b"tulle" in line.lower()]
    assert next(iter(r.runtime.downstreams)).peer_labels["workload"] == "web"


def test_own_fields_in_trailers_go_too(rig: MakeRig) -> None:
    """Some servers put trailers among the headers."""
    r = rig()
    r.client().send(
        b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nx-tulle-peer: a|b|c|d\r\nx-sum: 1\r\n\r\n"
    )
    came = r.servers[0].read()

    assert b"x-sum: 1" in came
    assert b"tulle" not in came


@pytest.mark.parametrize("mesh", [False, True])
def test_only_a_sidecar_may_say_why_it_refused(rig: MakeRig, mesh: bool) -> None:
    """What an app writes under that name is no word of the mesh."""
    r = rig(config(clusters=(cluster("10.1.0.1", mesh=mesh),), **OUT))
    client = r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    named = (b"x-tulle-error", b"no_healthy_upstream", b"x-tulle-error")
    if mesh:
        server = Speaker(r.servers[0], Http2Server(Limits()))
        server.do("send_response", server.events(RequestHead)[0].stream, 503, b"", [named], True)
    else:
        r.servers[0].send(b"HTTP/1.1 503 No\r\nx-tulle-error: no_healthy_upstream\r\ncontent-length: 0\r\n\r\n")
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 503")
    assert (b"x-tulle-error" in answer) == mesh


HOPS = (
    b"Connection: keep-alive, X-Nominated",
    b"X-Nominated: 1",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: gzip",
)


def test_fields_of_the_hop_are_not_passed_on(rig: MakeRig) -> None:
    """In either direction (RFC 9110, section 7.6.1)."""
    r = rig()
    client = r.client().send(b"\r\n".join((b"GET / HTTP/1.1", b"Host: web", *HOPS, b"X-Mine: 1", b"", b"")))
    came = r.servers[0].read().lower()
    r.servers[0].send(b"\r\n".join((b"HTTP/1.1 200 OK", *HOPS[:4], b"content-length: 0", b"X-Theirs: 1", b"", b"")))
    answer = client.read().lower()

    for data, kept in ((came, b"x-mine: 1"), (answer, b"x-theirs: 1")):
        assert kept in data
        assert not [line for line in data.split(b"\r\n") if line.split(b":")[0] in {
            b"x-nominated", b"keep-alive", b"proxy-connection", b"te"
        }]  # fmt: skip


def test_client_cannot_nominate_what_the_proxy_adds(rig: MakeRig) -> None:
    """`Connection: x-forwarded-for` must not hide where a request comes from."""
    lines = sent(rig(config(**OUT)), b"Connection: x-forwarded-for, x-forwarded-proto, x-request-id")

    assert values(lines, b"x-forwarded-for") == [b"10.9.9.9"]
    assert values(lines, b"x-forwarded-proto") == [b"http"]
    assert len(values(lines, b"x-request-id")) == 1


TRACE = (
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    b"b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    b"X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7",
    b"X-B3-SpanId: e457b5a2e4d86bd1",
    b"X-B3-Sampled: 1",
    b"x-request-id: 7",
)


@pytest.mark.parametrize("noun", [OUT, IN], ids=["outbound", "inbound"])
def test_trace_headers_pass_as_they_are(rig: MakeRig, noun: dict[str, Any]) -> None:
    """W3C and B3, and the request id; none is made but the request id."""
    lines = sent(rig(config(**noun)), *TRACE)
    assert set(TRACE) <= set(lines)
    bare = sent(rig(config(**noun)))

    assert not [line for line in bare if line.lower().startswith((b"trace", b"b3", b"x-b3"))]
    assert len(values(bare, b"x-request-id")[0]) == 36
