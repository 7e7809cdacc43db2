"""The life of a stream, as RFC 9113 draws it (section 5.1), and the table of those that live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol.http2 import frames, states
from dataplane.protocol.http2.states import (
    BEGIN,
    CLOSED,
    HALF_CLOSED_LOCAL,
    HALF_CLOSED_REMOTE,
    IDLE,
    IGNORE,
    LATE,
    NEVER,
    NOWHERE,
    OPEN,
    OUR_END,
    RESET,
    TAKE,
    THEIR_END,
    THEY_SEND,
    WE_SEND,
)
from dataplane.protocol.http2.streams import Streams

LIVING = (OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE)


@pytest.mark.parametrize("ends", [(OUR_END, THEIR_END), (THEIR_END, OUR_END)])
def test_a_stream_is_closed_by_both_ends_in_either_order(ends: tuple[int, int]) -> None:
    """And by no single one."""
    state = states.after(IDLE, BEGIN)
    assert state == OPEN
    state = states.after(state, ends[0])
    assert state == (HALF_CLOSED_LOCAL if ends[0] == OUR_END else HALF_CLOSED_REMOTE)
    assert states.after(state, ends[0]) == NOWHERE
    assert states.after(state, ends[1]) == CLOSED


def test_a_reset_closes_every_living_stream_and_nothing_happens_to_a_closed_one() -> None:
    """Closed is the end."""
    assert [states.after(state, RESET) for state in LIVING] == [CLOSED] * 3
    assert [states.after(CLOSED, event) for event in (BEGIN, THEIR_END, OUR_END, RESET)] == [NOWHERE] * 4
    assert states.after(IDLE, RESET) == NOWHERE


def test_bits_of_a_state_say_whose_end_is_still_to_come() -> None:
    """What the codec asks at each frame is what the table says."""
    for state in (*LIVING, CLOSED):
        assert bool(state & WE_SEND) == (states.after(state, OUR_END) != NOWHERE)
        assert bool(state & THEY_SEND) == (states.after(state, THEIR_END) != NOWHERE)


def test_frames_are_worth_what_the_rfc_says() -> None:
    """By state, in the order DATA, HEADERS, RST_STREAM, WINDOW_UPDATE."""
    kinds = (frames.DATA, frames.HEADERS, frames.RST_STREAM, frames.WINDOW_UPDATE)
    worth = {state: [states.verdict(state, kind) for kind in kinds] for state in (IDLE, *LIVING, CLOSED)}
    assert worth == {
        IDLE: [NEVER, TAKE, NEVER, NEVER],
        OPEN: [TAKE, TAKE, TAKE, TAKE],
        HALF_CLOSED_LOCAL: [TAKE, TAKE, TAKE, TAKE],
        HALF_CLOSED_REMOTE: [LATE, LATE, TAKE, TAKE],
        CLOSED: [LATE, LATE, LATE, IGNORE],
    }


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_stream_left_out_is_closed_and_known_as_skipped() -> None:
    """Opening number 7 after 1 closes 3 and 5 (section 5.1.1)."""
    streams = Streams(ours=False)
    streams.open(1, 10, 10)
    streams.open(7, 10, 10)
    assert [streams.state(number) for number in (3, 5, 9, 8)] == [CLOSED, CLOSED, IDLE, IDLE]
    assert [streams.skipped(number) for number in (1, 3, 5, 7, 9)] == [False, True, True, False, False]


def test_streams_of_the_server_are_idle_for_ever_where_we_open_them() -> None:
    """Nobody pushes."""
    streams = Streams(ours=True)
    streams.open(1, 10, 10)
    streams.open(3, 10, 10)
    assert [streams.state(number) for number in (1, 2, 4, 5)] == [CLOSED, IDLE, IDLE, IDLE]


def test_a_stream_we_told_not_to_open_is_no_error_and_its_frames_are_ignored() -> None:
    """It was sent before our GOAWAY was read."""
    streams = Streams(ours=False)
    streams.open(1, 10, 10)
    streams.ignore(9)
    assert streams.state(9) == CLOSED
    assert streams.lately(9)
    assert streams.state(11) == IDLE
    assert streams.last == 1


def test_only_so_many_dead_streams_are_remembered() -> None:
    """The latest."""
    streams = Streams(ours=False)
    for number in range(1, 1001, 2):
        streams.forget(number)
    assert not streams.lately(1)
    assert all(streams.lately(number) for number in range(999 - 2 * 100, 1001, 2))
    assert sum(streams.lately(number) for number in range(1, 1001, 2)) == 128


def test_a_goaway_leaves_out_only_streams_of_the_side_that_opens_them() -> None:
    """Those above the last one named."""
    client, server = Streams(ours=True), Streams(ours=False)
    for number in (1, 3, 5):
        client.open(number, 10, 10)
        server.open(number, 10, 10)
    assert [entry.id for entry in client.beyond(1)] == [3, 5]
    assert server.beyond(1) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40))
def test_living_streams_are_never_idle_nor_closed(steps: list[tuple[int, int]]) -> None:
    """Whatever is opened and closed in whatever order."""
    streams = Streams(ours=False)
    for step, at in steps:
        living = list(streams.living.values())
        if step == 0 or not living:
            streams.open(streams.last + 1 + 2 * at if streams.last % 2 == 0 else streams.last + 2, 1, 1)
            continue
        entry = living[at % len(living)]
        if step == 3:
            assert streams.close(entry)
            assert not streams.close(entry)
        else:
            moved = states.after(entry.state, step)
            if moved != NOWHERE:
                entry.state = moved
                if moved == CLOSED:
                    assert streams.close(entry)
        assert all(entry.state in LIVING for entry in streams.living.values())
    assert all(streams.state(entry.id) == CLOSED for entry in streams.living.values())
