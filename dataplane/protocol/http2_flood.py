"""Credits against floods of cheap frames (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).

In: what a peer did, and the time passed. Out: whether its credit lasts. Work that serves somebody (bodies, completed
streams) and time earn credit back up to the limit it started with, so neither a busy honest peer nor a quiet one that
asks every ten seconds whether we live runs out, and a flood does after a fixed number.
"""

from dataplane.protocol.limits import Limits


class Flood:
    """What one peer may still do for nothing. The spending methods return False when that was too much."""

    __slots__ = ("_control", "_empty", "_limits", "_resets", "_windows")

    def __init__(self, limits: Limits) -> None:
        self._limits = (limits.control_frames, limits.window_frames, limits.empty_frames, limits.premature_resets)
        self._control, self._windows, self._empty, self._resets = self._limits

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
        limits = self._limits
        if self._control < limits[0]:
            self._control += 1
        if self._empty < limits[2]:
            self._empty += 1

    def passed(self, seconds: float) -> None:
        """Let time heal: a hundredth of each limit a second, so that ten minutes of quiet are not what ends a peer."""
        limits = self._limits
        part = seconds / 100
        self._control = min(limits[0], self._control + 1 + int(limits[0] * part))
        self._windows = min(limits[1], self._windows + 1 + int(limits[1] * part))
        self._empty = min(limits[2], self._empty + 1 + int(limits[2] * part))
        self._resets = min(limits[3], self._resets + 1 + int(limits[3] * part))

    def sent(self) -> None:
        """A DATA frame went to the peer, who may acknowledge it by a WINDOW_UPDATE for stream and connection."""
        limits = self._limits
        if self._windows < limits[1]:
            self._windows += 3

    def completed(self) -> None:
        """A stream ended as it should."""
        limits = self._limits
        if self._resets < limits[3]:
            self._resets += 1
        if self._windows < limits[1]:
            self._windows += 2
