"""h2 as an independent judge of the same HTTP/2 frames, both directions.

Each row of the conformance tables, and random sequences of frames, go to both. Where the verdicts differ, the difference
stands here with its reason, and the test demands that it is still one.
"""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol.events import Data, Failure, RequestHead, Reset, ResponseHead, Trailers
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire
from tests.dataplane.protocol.test_protocol_http2_rfc9113 import REQUESTS, SERVER

Verdict = tuple[str, list[Any]]
"""`C` connection ended, `S` some stream reset by the judge, `N` neither; and the messages read, in order."""


def body(read: list[Any], stream: int, data: bytes) -> None:
    """Note bytes of a body; how they were cut into frames says nothing (RFC 9113, section 6.1), and we join small ones."""
    if read and read[-1][0] == stream and read[-1][1].startswith(b"body "):
        data = read.pop()[1].removeprefix(b"body ") + data
    read.append((stream, b"body " + data))


def theirs(raw: bytes) -> Verdict:
    """How h2 judges what a client sends."""
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    conn.initiate_connection()
    conn.data_to_send()
    read: list[Any] = []
    try:
        for event in conn.receive_data(wire.PREFACE + wire.settings() + raw):
            if isinstance(event, h2.events.RequestReceived):
                read.append((event.stream_id, dict(event.headers)[b":method"]))
            elif isinstance(event, h2.events.DataReceived) and event.data:
                body(read, event.stream_id, bytes(event.data))
            elif isinstance(event, h2.events.TrailersReceived):
                read.append((event.stream_id, b"trailers"))
    except h2.exceptions.ProtocolError:
        return "C", read
    sent = wire.frames(conn.data_to_send())
    if any(f[0] == 7 for f in sent):
        return "C", read
    return ("S" if any(f[0] == 3 for f in sent) else "N"), read


def ours(raw: bytes) -> Verdict:
    """How our server judges it."""
    server = wire.greeted()
    read: list[Any] = []
    failed = False
    for event in server.receive(raw):
        if isinstance(event, RequestHead):
            read.append((event.stream, event.method))
        elif isinstance(event, Data) and event.data:
            body(read, event.stream, event.data)
        elif isinstance(event, Trailers):
            read.append((event.stream, b"trailers"))
        failed = failed or isinstance(event, Failure)
    if failed:
        return "C", read
    return ("S" if any(f[0] == 3 for f in wire.frames(server.output())) else "N"), read


ROWS = {
    **{name: row[0] for name, row in SERVER.items()},
    **{"request: " + name: wire.headers(1, row[0]) for name, row in REQUESTS.items()},
}

MALFORMED = (
    "h2 ends the connection; RFC 9113, 8.1.1 asks for the stream, and a shared connection must outlive one bad request"
)
UNCHECKED = "h2 leaves it to its user; a proxy must check before it goes on as HTTP/1 (RFC 9113, 8.3.1 and 10.3)"

DIFFERENT: dict[str, str] = {
    "5.1 reset by peer: HEADERS": "h2 remembers how each stream ended; we do not, and the RFC allows the connection error",
    "5.3 depends on itself, PRIORITY": "RFC 9113 has no priorities any more: ignored",
    "5.3 depends on itself, HEADERS": "the same",
    "6.3 PRIORITY of four bytes": "a stream error in the RFC; h2 ends the connection",
    "6.9 window of 0, stream": "a stream error in the RFC; h2 ends the connection",
    "6.9 reserved bit of the step is ignored": "section 4.1 demands it; h2 reads 32 bits",
    **dict.fromkeys((name for name, row in SERVER.items() if name.startswith("8.1") and row[1] == "S"), MALFORMED),
    "8.1.1 body ended by trailers too early": "h2 does not count there",
    **dict.fromkeys(("request: " + name for name, row in REQUESTS.items() if not row[1]), MALFORMED),
    **dict.fromkeys(
        (
            "request: " + name
            for name in (
                ":path without slash",
                ":path * for GET",
                "space in :path",
                "fragment in :path",
                "space in :method",
                "empty :method",
                "slash in :authority",
                "user in :authority",
                "odd port in :authority",
                "odd host",
                ":scheme javascript",
                "length of no body",
                "CONNECT without port",
                "CONNECT with a body",
                ":protocol that ends",
            )
        ),
        UNCHECKED,
    ),
}
"""Rows both judge apart, with the reason."""


@pytest.mark.parametrize("name", ROWS)
def test_differences_to_h2_are_those_listed(name: str) -> None:
    """For all other rows of the tables both say the same, and read the same messages."""
    mine, oracle = ours(ROWS[name]), theirs(ROWS[name])
    assert (mine[0] != oracle[0]) == (name in DIFFERENT), (mine, oracle)
    if name not in DIFFERENT:
        assert oracle[0] == "C" or mine == oracle


@pytest.mark.parametrize("name", [name for name, why in DIFFERENT.items() if why in {MALFORMED, UNCHECKED}])
def test_where_h2_reads_on_or_ends_all_we_reset_the_stream(name: str) -> None:
    """Never the looser verdict."""
    assert ours(ROWS[name])[0] == "S"


streams = st.sampled_from([1, 1, 3, 5])
pieces = st.one_of(
    st.builds(wire.headers, streams, st.sampled_from([wire.GET, wire.POST]), st.sampled_from([4, 5])),
    st.builds(wire.headers, streams, st.just([(b"x", b"y")])),
    st.builds(wire.data, streams, st.binary(max_size=5), st.sampled_from([0, 0, 1])),
    st.builds(lambda stream: wire.data(stream, b"\2ab\0\0", 8), streams),
    st.builds(wire.rst, streams),
    st.builds(wire.window, st.sampled_from([0, 1, 3]), st.sampled_from([1, 100, 2**31 - 1])),
    st.builds(lambda value: wire.settings((4, value)), st.sampled_from([0, 1, 65535, 2**31 - 1])),
    st.builds(lambda value: wire.settings((1, value)), st.sampled_from([0, 100, 4096])),
    st.just(wire.ping()),
    st.just(wire.frame(77, 3, 1, b"?")),
    st.builds(lambda stream: wire.frame(2, 0, stream, wire.word(9) + b"\1"), streams),
    st.builds(lambda stream: wire.headers(stream, wire.GET, 1) + wire.frame(9, 4, stream), streams),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=8))
def test_any_sequence_of_frames_is_judged_alike(sequence: list[bytes]) -> None:
    """Up to where the first of both objects; what is read until then is the same."""
    for end in range(1, len(sequence) + 1):
        raw = b"".join(sequence[:end])
        mine, oracle = ours(raw), theirs(raw)
        if mine[0] != "N" or oracle[0] != "N":
            assert mine[0] != "N" or oracle[0] == "N", (mine, oracle)
            return
        assert mine == oracle


def test_h2_client_gets_from_our_server_what_it_asked_for() -> None:
    """Bodies both ways beyond every window, trailers, and many streams at once."""
    oracle = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    oracle.initiate_connection()
    server = Http2Server(Limits(stream_window=65535, connection_window=65535))
    bodies: dict[int, bytes] = {}
    for stream in range(1, 21, 2):
        oracle.send_headers(stream, [*wire.POST, (b"x-n", b"%d" % stream)])
        oracle.send_data(stream, b"%d" % stream * 100, end_stream=True)
    want = {stream: b"%d," % stream * 20_000 for stream in range(1, 21, 2)}
    for _ in range(400):
        for event in server.receive(oracle.data_to_send()):
            if isinstance(event, Data):
                server.consumed(event.stream, len(event.data))
                if event.end:
                    server.send_response(event.stream, 200, b"", [(b"x-s", b"t", b"x-s")], False)
                    server.send_data(event.stream, want[event.stream], False)
                    server.send_trailers(event.stream, [(b"grpc-status", b"0", b"grpc-status")])
        ended = 0
        for told in oracle.receive_data(server.output()):
            if isinstance(told, h2.events.DataReceived):
                bodies[told.stream_id] = bodies.get(told.stream_id, b"") + bytes(told.data)
                oracle.acknowledge_received_data(told.flow_controlled_length, told.stream_id)
            ended += isinstance(told, h2.events.StreamEnded)
        if bodies == want and not server.active:
            break
    assert bodies == want
    assert server.active == 0


def test_our_client_gets_from_an_h2_server_what_it_asked_for() -> None:
    """The same the other way round."""
    oracle = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    oracle.initiate_connection()
    client = Http2Client(Limits(stream_window=65535, connection_window=65535))
    client.receive(oracle.data_to_send())
    streams = [client.send_request(wire.request(b"POST", b"/%d" % n), False) for n in range(10)]
    for stream in streams:
        client.send_data(stream, b"z" * 30_000, True)
    got: dict[int, int] = dict.fromkeys(streams, 0)
    read: dict[int, int] = dict.fromkeys(streams, 0)
    heads = 0
    for _ in range(400):
        for event in oracle.receive_data(client.output()):
            if isinstance(event, h2.events.DataReceived):
                read[event.stream_id] += len(event.data)
                oracle.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.StreamEnded):
                oracle.send_headers(event.stream_id, wire.OK)
                oracle.send_data(event.stream_id, b"a" * 5000)
                oracle.send_headers(event.stream_id, [(b"t", b"u")], end_stream=True)
        for told in client.receive(oracle.data_to_send()):
            heads += isinstance(told, ResponseHead)
            if isinstance(told, Data):
                got[told.stream] += len(told.data)
                client.consumed(told.stream, len(told.data))
            assert not isinstance(told, Failure | Reset)
        if not client.active:
            break
    assert (set(read.values()), set(got.values()), heads, client.active) == ({30_000}, {5000}, 10, 0)
