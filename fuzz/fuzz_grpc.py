"""gRPC frames: any body in any pieces gives the same messages or the same refusal; what is encoded is read back.

In: a byte that says how to cut, then a body. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_grpc")
    raise SystemExit

from dataplane.protocol.grpcframe import FrameDecoder, FrameError, encode

LIMIT = 1000


def one(data: bytes) -> None:
    """Check one input."""
    if not data:
        return
    step, body = 1 + data[0], data[1:]
    whole, pieces = read(body, len(body) or 1), read(body, step)
    assert whole == pieces or (whole[1] == pieces[1] != ""), (whole, pieces)  # a refusal takes what came with it
    messages = pieces[0]
    assert all(len(message) <= LIMIT for message in messages)
    again, problem, empty = read(b"".join(encode(message) for message in messages), step)
    assert (again, problem, empty) == (messages, "", True)


def read(body: bytes, step: int) -> tuple[list[bytes], str, bool]:
    """Messages, why it ended, whether nothing is left half read."""
    decoder = FrameDecoder(LIMIT)
    messages: list[bytes] = []
    try:
        for at in range(0, len(body), step):
            messages += decoder.feed(body[at : at + step])
    except FrameError as error:
        return messages, str(error), False
    return messages, "", decoder.empty
