"""Frames of a carrier: who may say what when, and what is refused."""

from __future__ import annotations

import pytest

from dataplane.protocol.carrier import ACCEPT, DONE, END, LONGEST, OPEN, CarrierCodec


def frame(kind: int, length: int = 0) -> bytes:
    return bytes([kind]) + length.to_bytes(3, "big")


def ended(caller: bool) -> CarrierCodec:
    """A side whose first connection is over."""
    codec = CarrierCodec(caller)
    codec.end()
    codec.receive(frame(END))
    return codec


def resting(caller: bool) -> CarrierCodec:
    """The same, and both know."""
    codec = ended(caller)
    if caller:
        codec.receive(frame(DONE))
    else:
        codec.done()
    return codec


def opening(caller: bool) -> CarrierCodec:
    """One whose second connection is asked for."""
    codec = resting(caller)
    if caller:
        codec.open()
    else:
        codec.receive(frame(OPEN))
    return codec


def test_first_connection_needs_no_opening() -> None:
    """What the caller sends travels with the end of the handshake."""
    caller, callee = CarrierCodec(True), CarrierCodec(False)

    assert callee.receive(caller.header(5) + b"hello") == [b"hello"]
    assert caller.receive(callee.header(2) + b"ok" + callee.end()) == [b"ok", END]
    assert callee.receive(caller.end()) == [END]
    assert (caller.over, callee.over) == (True, True)


def test_next_connection_is_opened_accepted_and_carried() -> None:
    """OPEN and ACCEPT come first; nothing of the one before is known any more."""
    caller, callee = resting(True), resting(False)

    assert callee.receive(caller.open()) == [OPEN]
    assert (callee.opening, callee.idle, callee.over) == (True, False, False)
    assert caller.receive(callee.accept()) == [ACCEPT]
    assert callee.receive(caller.header(1) + b"x" + caller.end()) == [b"x", END]
    assert caller.receive(callee.end() + callee.done()) == [END, DONE]
    assert (caller.idle, callee.idle) == (True, True)


def test_bytes_pass_as_they_come() -> None:
    """A long DATA frame is not collected: every piece is handed on as the object it was."""
    codec = CarrierCodec(False)
    assert codec.receive(frame(3, LONGEST)) == []
    piece = bytes(16384)

    assert codec.receive(piece)[0] is piece


@pytest.mark.parametrize("cut", range(1, 9))
def test_frames_may_be_cut_anywhere(cut: int) -> None:
    """Headers too."""
    codec = CarrierCodec(False)
    frames = frame(3, 5) + b"hello" + frame(3, 1) + b"!" + frame(END)

    got = [one for at in range(0, len(frames), cut) for one in codec.receive(frames[at : at + cut])]

    assert b"".join(one for one in got if isinstance(one, bytes)) == b"hello!"
    assert got[-1] == END


REFUSED = {
    "unknown": (CarrierCodec(False), frame(9), "frame 9 came where DATA or END may come"),
    "empty": (CarrierCodec(False), frame(3), "DATA came without any"),
    "long mark": (CarrierCodec(False), frame(END, 1), "END came with a length"),
    "open in a connection": (CarrierCodec(False), frame(OPEN), "OPEN came where DATA or END may come"),
    "accept from a caller": (opening(False), frame(ACCEPT), "ACCEPT came where nothing may come"),
    "data before accept": (opening(False), frame(3, 1), "DATA came where nothing may come"),
    "data unasked": (resting(False), frame(3, 1), "DATA came where OPEN may come"),
    "open twice": (resting(False), frame(OPEN) * 2, "OPEN came where nothing may come"),
    "open before done": (ended(False), frame(OPEN), "OPEN came where nothing may come"),
    "end twice": (CarrierCodec(False), frame(END) * 2, "END came where nothing may come"),
    "data after the end": (CarrierCodec(True), frame(END) + frame(3, 1), "DATA came where nothing may come"),
    "done before our end": (CarrierCodec(True), frame(END) + frame(DONE), "DONE came where nothing may come"),
    "data from a callee not asked": (resting(True), frame(3, 1), "DATA came where nothing may come"),
    "data from a callee not accepting": (opening(True), frame(3, 1), "DATA came where ACCEPT may come"),
    "end for an accept": (opening(True), frame(END), "END came where ACCEPT may come"),
    "done late": (ended(True), frame(DONE) * 2, "DONE came where nothing may come"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_due_is_refused(case: str) -> None:
    """In one sentence, and nothing behind it is looked at."""
    codec, frames, sentence = REFUSED[case]

    found = codec.receive(frames + frame(3, 1) + b"x")

    assert codec.error == sentence
    assert b"x" not in found
    assert codec.receive(b"more") == []
