"""How streams and connections end, with what each end costs."""

from __future__ import annotations

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Failure, Reset
from dataplane.protocol.http2.endings import Endings
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.inflow import Inflow
from dataplane.protocol.http2.outflow import Outflow
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.streams import Streams
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire

LIMITS = Limits(premature_resets=2, control_frames=2, connection_window=65535)


class World:
    """All an ending touches."""

    def __init__(self, ours: bool = False) -> None:
        self.writer = FrameWriter(LIMITS)
        self.flood = Flood(LIMITS)
        self.streams = Streams(ours)
        self.inflow = Inflow(LIMITS, self.writer)
        self.outflow = Outflow(LIMITS, self.writer, self.flood, self.streams)
        self.endings = Endings(self.streams, self.writer, self.flood, self.inflow, self.outflow)
        self.events: list[Event] = []

    def open(self) -> Http2Stream:
        """The next stream."""
        return self.streams.open(self.streams.last + (2 if self.streams.last else 1), 65535, 65535)

    def written(self) -> list[tuple[int, int, bytes]]:
        """Frames: type, stream, payload."""
        return [(kind, stream, payload) for kind, _, stream, payload in wire.frames(self.writer.output())]


def test_a_stream_that_ended_on_both_sides_is_gone_without_a_word() -> None:
    """Nobody is told what both know."""
    world = World()
    entry = world.open()
    world.endings.theirs(entry)
    assert world.streams.living
    world.endings.ours(entry)
    assert not world.streams.living
    assert (world.written(), world.events) == ([], [])


@pytest.mark.parametrize(
    ("ours", "final", "tunnel", "told"),
    [(False, True, False, True), (False, True, True, False), (False, False, False, False), (True, True, False, False)],
)
def test_a_server_that_is_done_asks_the_client_to_stop(ours: bool, final: bool, tunnel: bool, told: bool) -> None:
    """Without an error (section 8.1); not in a tunnel, and a client never."""
    world = World(ours)
    entry = world.open()
    entry.final, entry.tunnel = final, tunnel
    world.endings.ours(entry)
    assert world.written() == ([(3, 1, wire.word(codes.NO_ERROR))] if told else [])
    assert bool(world.streams.living) != told


def test_what_waited_on_a_stream_goes_back_when_it_ends() -> None:
    """To the connection's window, and out of the queues."""
    world = World()
    entry = world.open()
    assert world.inflow.arrived(40_000)
    assert world.inflow.arrived_on(entry, 40_000, 40_000)
    world.inflow.kept(entry, 40_000)
    world.outflow.send(entry, b"x" * 70_000, False)
    world.written()
    world.endings.abandon(entry, codes.CANCEL)
    assert world.written() == [(3, 1, wire.word(codes.CANCEL)), (8, 0, wire.word(40_000))]
    assert world.outflow.blocked() == []


def test_broken_streams_cost_credit_until_the_connection_ends() -> None:
    """Each is told; the last with the connection."""
    world = World()
    for _ in range(3):
        world.endings.broken(world.open(), codes.PROTOCOL_ERROR, "why", world.events)
    assert [event for event in world.events if isinstance(event, Reset)] == [
        Reset(n, codes.PROTOCOL_ERROR, "why") for n in (1, 3, 5)
    ]
    failure = world.events[-1]
    assert isinstance(failure, Failure)
    assert failure.counter == "http2_rapid_reset"
    assert world.endings.dead
    assert world.written()[-1][0] == 7


@pytest.mark.parametrize("costs", [False, True])
def test_a_reset_of_the_peer_costs_only_where_that_is_said(costs: bool) -> None:
    """Patience that ran out is no flood."""
    world = World()
    for _ in range(5):
        world.endings.reset(world.open(), codes.CANCEL, costs, world.events)
        if world.endings.dead:
            break
    assert world.endings.dead == costs


def test_frames_on_dead_streams_are_answered_ignored_or_too_many() -> None:
    """Ignored where we reset the stream and DATA was under way already."""
    world = World()
    world.streams.forget(5)
    for _ in range(9):
        world.endings.late(5, None, 10, world.events)
    assert (world.written(), world.events) == ([], [])
    world.endings.late(1, None, 10, world.events)
    assert world.written() == [(3, 1, wire.word(codes.STREAM_CLOSED))]
    world.endings.late(5, None, 0, world.events)
    assert world.written() == []
    world.endings.late(1, None, 10, world.events)
    assert [event.counter for event in world.events if isinstance(event, Failure)] == ["http2_closed_flood"]


def test_a_frame_after_the_end_breaks_a_stream_that_still_lives() -> None:
    """Its other half was still open (section 5.1)."""
    world = World()
    entry = world.open()
    world.endings.theirs(entry)
    world.endings.late(1, entry, 3, world.events)
    assert [(event.stream, event.code) for event in world.events if isinstance(event, Reset)] == [
        (1, codes.STREAM_CLOSED)
    ]


def test_streams_a_goaway_leaves_out_are_safe_to_send_again() -> None:
    """The others go on."""
    world = World(ours=True)
    first, second = world.open(), world.open()
    world.endings.left_out(1, world.events)
    assert [(event.stream, event.code) for event in world.events if isinstance(event, Reset)] == [
        (3, codes.REFUSED_STREAM)
    ]
    assert list(world.streams.living.values()) == [first] != [second]
    assert world.endings.closing
    assert not world.endings.dead


def test_a_connection_fails_once() -> None:
    """GOAWAY names the counter; nothing is said after it."""
    world = World()
    world.open()
    for _ in range(2):
        world.endings.fail(codes.PROTOCOL_ERROR, "why", "http2_why", world.events)
    assert world.events == [Failure(codes.PROTOCOL_ERROR, 400, "why", "http2_why")]
    assert world.written() == [(7, 0, wire.word(1) + wire.word(codes.PROTOCOL_ERROR) + b"http2_why")]


def test_a_lost_connection_resets_every_stream() -> None:
    """None of them can be finished."""
    world = World()
    world.open()
    world.open()
    world.endings.lost(world.events)
    assert [event.stream for event in world.events] == [1, 3]
    assert not world.streams.living
    assert world.endings.dead
