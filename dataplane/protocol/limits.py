"""What one peer may cost us: every bound a codec enforces, with its default and the reason for it.

In: values from configuration. Out: a frozen `Limits`, copied into the codecs when a connection opens. What a refusal says names
the setting that moves the bound.
Refuses, with ValueError, values no codec can keep.
"""

from meshapi import names
from meshapi.records import fields, record, replace

_OUR_LINES = 16
_OUR_BYTES = 8 * 1024

NARROWEST = 8 * 1024
"""A window below which updates of it would cost more than what they let through."""


@record
class Limits:
    """Bounds of one connection; sizes in bytes."""

    header_count: int = 1000
    """Fields in one head or trailer part."""
    header_bytes: int = 64 * 1024
    """A whole head with its target, as it is (or would be) written in HTTP/1."""
    chunk_extension_bytes: int = 4 * 1024
    """Chunk extensions of one message in all (they are read and dropped)."""
    pipeline_bytes: int = 1024 * 1024
    """Bytes an HTTP/1 client may send ahead while its response is being made."""
    drain_bytes: int = 64 * 1024 * 1024
    """What is read of an HTTP/1 request's body after its answer, to keep the connection."""
    concurrent_streams: int = 100
    """HTTP/2 streams open at once, as announced."""
    hpack_table_bytes: int = 4096
    """HPACK dynamic table, each way."""
    stream_window: int = 256 * 1024
    """Body bytes a peer may send on a new stream before we have handed them on, at most (see `window`); at least 65,535."""
    least_window: int = 65535
    """What a stream's window is at least (see `window`): where HTTP/2 begins, for a client may send as much before it has heard of less."""
    widest_window: int = 4 * 1024 * 1024
    """What a stream's window may grow to while its reader keeps up, half of `connection_window` at most."""
    connection_window: int = 25 * 1024 * 1024
    """The same over all streams of a connection, and what may wait for a peer on all of them: the bytes one connection may hold,
    however many streams it has."""
    low_watermark: int = 32 * 1024
    """`Writable` is told when a stream's waiting bytes fall to this."""
    control_frames: int = 1000
    """Credit for PING, SETTINGS, PRIORITY and unknown frames (CVE-2019-9512, 9515); earned back by traffic and time."""
    window_frames: int = 1000
    """Credit for WINDOW_UPDATE frames; earned back by DATA we send and by time."""
    empty_frames: int = 100
    """Credit for frames without payload that end nothing (CVE-2019-9518); earned back by traffic and time."""
    premature_resets: int = 500
    """Credit for streams the peer resets early or makes us reset (CVE-2023-44487, CVE-2025-8671); earned back by
    completed streams and time."""
    premature_seconds: float = 1.0
    """A stream reset when it is older than this was no premature one: its client lost patience."""
    settings_entries: int = 32
    """Settings in one SETTINGS frame, each of which may cost a walk over all streams (CVE-2020-11080)."""
    unread_frames: int = 1000
    """Frames other than DATA a peer may have us write while it reads nothing; a KiB of fields counts as one more."""
    continuation_frames: int = 16
    """CONTINUATION frames of one field section (CVE-2024-27316)."""

    @property
    def window(self) -> int:
        """What a stream begins with: half of the connection's bytes shared out, within `least_window` and `stream_window`.

        The other half is `growth`. All streams together get no more than the connection has, so that those nobody reads leave
        room for the one that is read: a connection between two sidecars carries the requests of many clients.
        """
        share = self.connection_window // 2 // max(self.concurrent_streams, 1)
        return min(self.stream_window, max(share, self.least_window))

    @property
    def enough(self) -> int:
        """The streams that begin with half of the connection's bytes: with more of them, those nobody reads may stall one that is read."""
        return max(self.connection_window // 2 // self.least_window, 1)

    @property
    def growth(self) -> int:
        """The bytes by which the windows of all streams together may grow."""
        return self.connection_window // 2

    @property
    def section_bytes(self) -> int:
        """A field section of HTTP/2 that is within both bounds of a head, as RFC 9113 counts it (32 a field) and never less compressed."""
        return self.header_bytes + 32 * self.header_count

    def between_sidecars(self) -> "Limits":
        """Return what another sidecar may send: what its app may, and what it adds itself."""
        return replace(self, header_count=self.header_count + _OUR_LINES, header_bytes=self.header_bytes + _OUR_BYTES)

    def of_ours(self, streams: int) -> "Limits":
        """Return the limits of a connection we open, for so many streams or as many as its bytes are enough for.

        The windows of all of them are within its bytes: its peer hears of ours before the first request, so they may be less than
        HTTP/2 begins with (RFC 9113, section 6.9.2).
        """
        ours = replace(self, least_window=NARROWEST)
        return replace(ours, concurrent_streams=min(streams, ours.enough))

    def too_long(self, what: str) -> str:
        """Say that a head or trailer part has too many bytes."""
        return f"{what} is longer than {self.header_bytes} bytes ({names.ENV_MAX_HEADER_BYTES})"

    def too_many(self) -> str:
        """Say that there are too many fields."""
        return f"there are more than {self.header_count} header lines ({names.ENV_MAX_HEADER_COUNT})"

    def __post_init__(self) -> None:
        """Refuse windows and sizes the protocol does not allow.

        Raises:
            ValueError: naming the field, its value and what is allowed.

        """
        for field in ("stream_window", "connection_window"):
            value = getattr(self, field)
            if not 65535 <= value < 2**31:
                raise ValueError(f"{field} is {value}; allowed is 65535 to {2**31 - 1}")
        for one in fields(self):
            if getattr(self, one.name) < 0:
                raise ValueError(f"{one.name} is {getattr(self, one.name)}; it cannot be negative")
        if self.hpack_table_bytes > 1024 * 1024:
            raise ValueError(f"hpack_table_bytes is {self.hpack_table_bytes}; allowed is 0 to {1024 * 1024}")
