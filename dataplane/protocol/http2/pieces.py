"""DATA frames into pieces of a body: their borders mean nothing (RFC 9113, section 6.1).

In: a reader that stands at a DATA frame. Out: a Data event, or more in the one before.
"""

from dataplane.protocol import events as kinds
from dataplane.protocol.events import Data, Event
from dataplane.protocol.http2.reader import FrameReader

_DATA = kinds.DATA
_MERGED = 4096
"""What one read brought for a stream becomes one piece while it is no longer than this: small messages cost little together."""


def tell(reader: FrameReader, last: bool, events: list[Event]) -> None:
    """Tell a piece of a body; `last`: it is complete."""
    size = reader.end - reader.pos
    p = reader.data
    piece = p[reader.pos : reader.end]
    if events and size <= _MERGED:
        event = events[-1]
        if event.kind == _DATA and event.stream == reader.stream:
            before: Data = event  # type: ignore[assignment]
            if len(before.data) + size <= _MERGED:
                before.data += piece
                before.end = last
                return
    events.append(Data(reader.stream, piece, last))
