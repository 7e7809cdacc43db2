"""Detection: any first bytes; a verdict once given does not change with more bytes, and HTTP found is what the codec reads.

In: a connection's first bytes. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_detect")
    raise SystemExit

from dataplane.protocol import detect
from dataplane.protocol.events import Failure, RequestHead
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits


def one(data: bytes) -> None:
    """Check one input."""
    whole = detect.classify(data)
    assert whole in {detect.NEED_MORE, detect.TLS, detect.HTTP1, detect.HTTP2, detect.OPAQUE}
    assert whole != detect.NEED_MORE or len(data) < detect.LONGEST_LINE
    for size in range(min(len(data), 64)):
        part = detect.classify(data[:size])
        if part != detect.NEED_MORE:
            assert part == whole, (data[:size], part, whole)
    events = Http1Server(Limits()).receive(data)
    if any(isinstance(event, RequestHead) for event in events):
        head = next(event for event in events if isinstance(event, RequestHead))
        upper = head.method == head.method.upper() and len(head.method) <= 24
        assert whole == detect.HTTP1 or not upper or data.startswith(b"\r\n"), (whole, head)
    elif whole == detect.HTTP2:
        assert isinstance(events[0], Failure)
