"""Carrier frames: any bytes in any pieces give the same carried bytes, marks and refusal; what one side sends the other reads.

In: a byte that says whose side reads, what it has sent, and how to cut; then frames. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_carrier")
    raise SystemExit

from dataplane.protocol.carrier import ACCEPT, DATA, DONE, END, HEADER, OPEN, CarrierCodec


def one(data: bytes) -> None:
    """Check one input."""
    if not data:
        return
    choice, frames = data[0], data[1:]
    whole = read(choice, frames, len(frames) or 1)
    pieces = read(choice, frames, 1 + (choice >> 3))
    assert whole == pieces, (whole, pieces)
    carried, marks, error = pieces
    assert len(carried) <= len(frames)
    assert HEADER * len(marks) + len(carried) <= len(frames)
    if not error:
        assert marks.count(END) <= 1 + marks.count(OPEN) + marks.count(ACCEPT)
        mirrored(carried, 1 + (choice >> 3))


def read(choice: int, frames: bytes, step: int) -> tuple[bytes, list[int], str]:
    """What a side reads that answers each mark at once: carried bytes, marks, and why it stopped."""
    codec = CarrierCodec(bool(choice & 1))
    if choice & 2:
        codec.end()
    carried, marks = b"", []
    for at in range(0, len(frames), step):
        for found in codec.receive(frames[at : at + step]):
            if isinstance(found, bytes):
                assert found
                assert codec.peer_ended or not codec.idle
                carried += found
            else:
                marks.append(found)
                assert found in ((ACCEPT, END, DONE) if codec.caller else (OPEN, END))
    return carried, marks, codec.error


def mirrored(carried: bytes, step: int) -> None:
    """Have two sides carry bytes there and back, twice, and come to rest each time."""
    caller, callee = CarrierCodec(True), CarrierCodec(False)
    for turn in range(2):
        if turn:
            assert callee.receive(caller.open()) == [OPEN]
            assert caller.receive(callee.accept()) == [ACCEPT]
        for near, far in ((caller, callee), (callee, caller)):
            sent = near.header(len(carried)) + carried if carried else b""
            got = [one for at in range(0, len(sent), step) for one in far.receive(sent[at : at + step])]
            assert b"".join(piece for piece in got if isinstance(piece, bytes)) == carried
            assert far.receive(near.end()) == [END]
        assert caller.over
        assert callee.over
        assert caller.receive(callee.done()) == [DONE]
        assert caller.idle
        assert callee.idle
    assert callee.receive(DATA.to_bytes(1, "big") + bytes(3)) == []
    assert callee.error
