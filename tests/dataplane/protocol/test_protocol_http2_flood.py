"""What a hostile HTTP/2 peer may cost: every flood has a bound, a counter, and an honest peer that is not hit by it."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Data, Failure, Pong, RequestHead, Reset
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.wire import (
    END_HEADERS,
    END_STREAM,
    GET,
    POST,
    asked,
    data,
    frame,
    frames,
    greeted,
    headers,
    literals,
    ping,
    rst,
    settings,
    window,
    word,
)


def failure(events: list[Any]) -> tuple[int, str] | None:
    """The connection error among events."""
    found = [(e.code, e.counter) for e in events if isinstance(e, Failure)]
    return found[0] if found else None


CALM = codes.ENHANCE_YOUR_CALM

FLOODS = {
    "PING": (ping(), "http2_control_flood"),
    "PING ACK nobody asked for": (ping(1), "http2_control_flood"),
    "SETTINGS": (settings((3, 1)), "http2_control_flood"),
    "SETTINGS ACK": (settings(flags=1), "http2_control_flood"),
    "PRIORITY": (frame(2, 0, 1, word(0) + b"\0"), "http2_control_flood"),
    "unknown": (frame(99, 0, 0), "http2_control_flood"),
    "GOAWAY": (frame(7, 0, 0, word(0) * 2), "http2_control_flood"),
    "WINDOW_UPDATE, connection": (window(0, 1), "http2_window_flood"),
    "WINDOW_UPDATE, stream": (window(1, 1), "http2_window_flood"),
    "empty DATA": (data(1), "http2_empty_flood"),
    "padding only": (data(1, b"\x07" + b"\0" * 7, 8), "http2_empty_flood"),
    "RST_STREAM of the same": (rst(1), "http2_closed_flood"),
    "DATA of a closed stream": (data(3, b"x"), "http2_closed_flood"),
}


@pytest.mark.parametrize(("raw", "counter"), FLOODS.values(), ids=FLOODS.keys())
def test_flood_of_cheap_frames_ends_the_connection(raw: bytes, counter: str) -> None:
    """After a number of frames the limits say, with ENHANCE_YOUR_CALM."""
    server = greeted()
    server.receive(headers(1, POST, END_HEADERS) + headers(3, GET) + rst(3))

    assert failure(server.receive(raw * 2000)) == (CALM, counter)
    assert server.closing


def test_window_flood_cannot_feed_itself_with_more_than_frames_asked_for() -> None:
    """A byte at a time is slow, but each frame we send was asked for by one."""
    server = greeted()
    server.receive(settings((4, 0)) + headers(1, GET))
    server.output()
    server.send_response(1, 200, b"", [], False)
    server.send_data(1, b"x" * 1000, False)
    server.output()
    for left in range(999, 899, -1):
        server.receive(window(1, 1))
        assert (len(server.output()), server.pending(1)) == (10, left)


def test_settings_of_thousands_of_entries_end_the_connection() -> None:
    """CVE-2020-11080: each entry may cost a walk over all streams."""
    assert failure(greeted().receive(settings(*[(4, 100)] * 33))) == (CALM, "http2_settings_entries")
    assert failure(greeted().receive(settings(*[(4, 100)] * 32))) is None


def test_continuations_without_end_are_cut_off() -> None:
    """CVE-2024-27316: by their number, empty or not, and by their size."""
    for piece in (b"", b"\0\1a\1b"):
        raw = headers(1, GET, 0) + frame(9, 0, 1, piece) * 17
        assert failure(greeted().receive(raw)) == (CALM, "http2_continuation")
    raw = frame(1, 0, 1, b"x" * 16384) + frame(9, 0, 1, b"x" * 16384) * 5
    assert failure(greeted().receive(raw)) == (CALM, "http2_continuation")


def test_compression_bomb_is_answered_431_and_costs_its_stream_only() -> None:
    """A thousand references to one large entry: decoded size counts, not the bytes that came."""
    server = greeted()
    entry = b"\x40\x01a\x7f" + bytes([(3900 - 127) & 127 | 128, (3900 - 127) >> 7]) + b"v" * 3900
    events = server.receive(frame(1, 5, 1, literals(GET) + entry + b"\xbe" * 10_000))

    assert events == []
    written = frames(server.output())
    assert [f[0] for f in written] == [1, 0]
    assert b"431" in written[0][3]
    assert isinstance(server.receive(headers(3, GET))[0], RequestHead)


def test_refused_heads_run_out_of_credit() -> None:
    """A stream we must answer ourselves costs like a reset one."""
    server = greeted()
    huge = [*GET, *[(b"x", b"y")] * 1005]
    found = None
    for number in range(1, 2001, 2):
        found = failure(server.receive(headers(number, huge)))
        if found:
            break
    assert found == (CALM, "http2_rapid_reset")


RESETS = {
    "rapid reset, CVE-2023-44487": rst(0)[:5],
    "window of zero, CVE-2025-8671": b"zero",
    "window overflow, CVE-2025-8671": b"over",
    "DATA after END_STREAM, CVE-2025-8671": b"data",
    "HEADERS after END_STREAM, CVE-2025-8671": b"head",
    "PRIORITY of wrong size, CVE-2025-8671": b"prio",
    "malformed request": b"form",
}


def breaking(how: bytes, stream: int) -> bytes:
    """A request, and what makes one of us reset it."""
    ask = headers(stream, GET)
    return {
        b"zero": ask + window(stream, 0),
        b"over": ask + window(stream, 2**31 - 1),
        b"data": ask + data(stream, b"x"),
        b"head": ask + headers(stream, GET),
        b"prio": ask + frame(2, 0, stream, b"abcd"),
        b"form": headers(stream, GET[1:]),
    }.get(how, ask + rst(stream))


@pytest.mark.parametrize("how", RESETS.values(), ids=RESETS.keys())
def test_streams_reset_before_their_answer_run_out_of_credit(how: bytes) -> None:
    """Whoever sends the RST_STREAM: what made us send it counts the same."""
    server = greeted()
    for number in range(600):
        found = failure(server.receive(breaking(how, 2 * number + 1)))
        if found:
            break

    assert found == (CALM, "http2_rapid_reset")
    assert 450 < number < 550


def test_streams_beyond_the_limit_are_refused_and_cost_credit() -> None:
    """A hundred are open, all others are safe to retry, and five hundred of them are enough."""
    server = greeted()
    seen: list[Any] = []
    for number in range(1, 1402, 2):
        seen += server.receive(headers(number, GET))
        if server.closing:
            break

    assert sum(isinstance(e, RequestHead) for e in seen) == 100
    assert (number - 1) // 2 == 600
    assert failure(seen) == (CALM, "http2_streams")
    refused = [f for f in frames(server.output()) if f[0] == 3]
    assert {f[3] for f in refused} == {word(codes.REFUSED_STREAM)}


def test_client_that_gives_up_an_answer_on_its_way_is_no_attacker() -> None:
    """Watches end by reset; thousands on one connection must not end the others."""
    server = greeted()
    for number in range(1, 4001, 2):
        server.receive(headers(number, GET))
        server.send_response(number, 200, b"", [], False)
        events = server.receive(rst(number))
        assert [type(e) for e in events] == [Reset]


def test_client_that_loses_patience_is_no_attacker() -> None:
    """When a server is slow, time-outs reset streams by the thousand: they are older than a flood's."""
    server = greeted()
    for number in range(1, 4001, 2):
        server.now = float(number)
        server.receive(headers(number, GET))
        server.now = number + 1.5
        assert failure(server.receive(rst(number))) is None


def test_time_heals_what_quiet_peers_spend() -> None:
    """A PING every ten seconds for a week, and nothing else, is a healthy idle connection."""
    server = greeted()
    for number in range(60_000):
        server.now = 10.0 * number
        events = server.receive(ping() + window(0, 1) if number < 2000 else ping())
        assert failure(events) is None
    assert not server.closing


def test_answers_to_our_own_pings_cost_nothing() -> None:
    """Whoever keeps asking must bear the answers."""
    server = greeted()
    for _ in range(3000):
        server.ping(b"12345678")
        assert server.receive(ping(1)) == [Pong(b"12345678")]


def test_time_gives_back_a_hundredth_a_second_up_to_the_limit() -> None:
    """And at least one, so that small limits heal, too."""
    flood = Flood(Limits(control_frames=10, empty_frames=1000))
    assert [flood.control() for _ in range(11)] == [True] * 10 + [False]
    flood.passed(1.0)
    flood.passed(1.0)
    assert [flood.control(), flood.control()] == [True, False]
    flood = Flood(Limits(empty_frames=1000))
    for _ in range(1000):
        flood.empty()
    flood.passed(2.0)
    assert sum(flood.empty() for _ in range(1000)) == 21
    flood.passed(1e9)
    assert sum(flood.empty() for _ in range(2000)) == 1000


def test_honest_traffic_never_runs_out() -> None:
    """Requests with bodies, window updates for each, and pings: ten thousand of them."""
    server = greeted()
    for number in range(1, 20_001, 2):
        raw = headers(number, POST, END_HEADERS) + data(number, b"x", END_STREAM) + ping()
        events = server.receive(raw)
        server.consumed(number, 1)
        server.send_response(number, 200, b"", [], False)
        server.send_data(number, b"yes", True)
        assert failure(events + server.receive(window(0, 3))) is None
        server.output()
    assert server.active == 0


UNREAD = {
    "PING": lambda n: ping() + data(1, b"x"),
    "SETTINGS": lambda n: settings() + data(1, b"x"),
    "requests": lambda n: headers(2 * n + 3, GET),
    "broken requests": lambda n: headers(4 * n + 3, GET[1:]) + headers(4 * n + 5, GET),
}


@pytest.mark.parametrize("ask", UNREAD.values(), ids=UNREAD.keys())
def test_peer_that_asks_and_never_reads_is_found_out(ask: Any) -> None:
    """Answers have no window; the driver says what waits, the codec when it is too much (CVE-2019-9512, 9515, 9517)."""
    server = greeted()
    server.receive(headers(1, POST, END_HEADERS))
    waiting, found = 0, -1
    for number in range(3000):
        if server.unread(waiting):
            found = number
            break
        for event in server.receive(ask(number)):
            if isinstance(event, RequestHead):
                server.send_response(event.stream, 200, b"", [], True)
            elif isinstance(event, Data):
                server.consumed(1, 1)
        waiting += len(server.output())

    assert 300 < found <= 1001
    assert waiting < 64 * 1024


def test_peer_that_reads_is_never_found_out() -> None:
    """Once nothing waits, the count begins anew."""
    server = greeted()
    for number in range(5000):
        assert not server.unread(number % 2)
        server.receive(ping())
        server.receive(headers(2 * number + 1, GET))
        server.send_response(2 * number + 1, 200, b"", [], True)
        server.output()


def test_peer_that_reads_and_is_always_behind_is_never_found_out() -> None:
    """A saturated connection has bytes waiting for hours; what counts is which of them the peer has taken."""
    server = greeted()
    waiting = 0
    for number in range(1, 20_001, 2):
        assert not server.unread(waiting)
        server.receive(headers(number, GET))
        server.send_response(number, 200, b"", [], False)
        server.send_data(number, b"x" * 100, True)
        server.receive(window(0, 100))
        waiting = min(waiting + len(server.output()), 20_000)


def test_peer_that_stops_reading_is_found_out_whatever_it_took_before() -> None:
    """The count of a peer that read on for long is no larger a credit."""
    server = greeted()
    waiting = 0
    for number in range(1, 20_001, 2):
        server.receive(headers(number, GET))
        server.send_response(number, 200, b"", [], True)
        waiting += len(server.output())
        if number < 10_000:
            waiting = min(waiting, 1_000)
        if server.unread(waiting):
            break
    assert 12_000 - 400 < number < 12_100


def test_large_heads_count_for_more() -> None:
    """A KiB of fields is one more frame, so that unread heads are bounded in bytes."""
    server = greeted()
    for number in range(1, 200, 2):
        server.receive(headers(number, GET))
        server.send_response(number, 200, b"", [(b"x", b"y" * 16_000, b"x")], True)
        if server.unread(1):
            break
    assert number < 2 * 70


def test_nothing_is_written_after_a_failure() -> None:
    """GOAWAY was the last word."""
    server = greeted()
    server.receive(headers(1, GET) + data(0, b"x"))
    server.output()
    server.ping(b"12345678")
    server.goaway()
    server.shutdown()
    server.send_response(1, 200, b"", [], False)
    server.send_data(1, b"x", True)
    server.send_trailers(1, [])
    server.reset(1, 0)
    server.consumed(1, 5)

    assert (server.output(), server.receive(ping()), server.receive_eof()) == (b"", [], [])


def test_large_waiting_body_leaves_in_pieces_without_being_copied_again() -> None:
    """A window of a few bytes at a time must not cost a copy of all that waits."""
    client = asked(method=b"POST")
    client.receive(settings((4, 0)))
    body = bytes(range(256)) * 40
    client.send_data(1, body, False)
    client.send_data(1, b"tail", True)
    client.output()
    got = b""
    while client.pending(1):
        client.receive(window(1, 100))
        got += b"".join(f[3] for f in frames(client.output()) if f[0] == 0)

    assert got == body + b"tail"


def test_limits_of_zero_refuse_the_first_frame() -> None:
    """No limit means unlimited."""
    server = Http2Server(Limits(control_frames=0))
    server.output()
    assert failure(server.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings())) == (CALM, "http2_control_flood")
