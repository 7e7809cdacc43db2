"""Credits against floods of cheap frames (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).

In: what a peer did, and the time passed. Out: whether its credit lasts. Work that serves somebody (bodies, completed
streams) and time earn credit back up to the limit it started with, so neither a busy honest peer nor a quiet one that
asks every ten seconds whether we live runs out, and a flood does after a fixed number.
"""

from dataplane.protocol.limits import Limits


class Flood:
    """What one peer may still do for nothing. The spending methods return False when that was too much."""

    __slots__ = (
        "_control",
        "_empty",
        "_full_control",
        "_full_empty",
        "_full_resets",
        "_full_windows",
        "_resets",
        "_windows",
    )

    def __init__(self, limits: Limits) -> None:
        self._control = self._full_control = limits.control_frames
        self._windows = self._full_windows = limits.window_frames
        self._empty = self._full_empty = limits.empty_frames
        self._resets = self._full_resets = limits.premature_resets

    def control(self) -> bool:
        """A PING, SETTINGS, PRIORITY or unknown frame, or one for a stream that is gone."""
        self._control -= 1
        return self._control >= 0

    def window(self) -> bool:
        """A WINDOW_UPDATE."""
        self._windows -= 1
        return self._windows >= 0

    def empty(self) -> bool:
        """A frame without payload that ends nothing."""
        self._empty -= 1
        return self._empty >= 0

    def premature(self) -> bool:
        """A stream the peer reset, or made us reset, before its response was complete."""
        self._resets -= 1
        return self._resets >= 0

    def received(self) -> None:
        """A frame that carried something came."""
        if self._control < self._full_control:
            self._control += 1
        if self._empty < self._full_empty:
            self._empty += 1

    def passed(self, seconds: float) -> None:
        """Let time heal: a hundredth of each limit a second, so that ten minutes of quiet are not what ends a peer."""
        if (
            self._control >= self._full_control
            and self._windows >= self._full_windows
            and self._empty >= self._full_empty
            and self._resets >= self._full_resets
        ):
            return
        part = seconds / 100
        self._control = min(self._full_control, self._control + 1 + int(self._full_control * part))
        self._windows = min(self._full_windows, self._windows + 1 + int(self._full_windows * part))
        self._empty = min(self._full_empty, self._empty + 1 + int(self._full_empty * part))
        self._resets = min(self._full_resets, self._resets + 1 + int(self._full_resets * part))

    def sent(self) -> None:
        """A DATA frame went to the peer, who may acknowledge it by a WINDOW_UPDATE for stream and connection."""
        if self._windows < self._full_windows:
            self._windows += 3

    def completed(self) -> None:
        """A stream ended as it should."""
        if self._resets < self._full_resets:
            self._resets += 1
        if self._windows < self._full_windows:
            self._windows += 2
