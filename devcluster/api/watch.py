"""The event log: what happened to each kind of object, so a watch can begin in the past.

Sans-io. In: events in order of version. Out: the events after a version, to whoever asks, and each new one to every listener at once.
Refuses a version older than what is still kept, with 410 Expired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.api.errors import Object, expired

KEPT = 4096
"""Events kept a kind; a watch that wants older ones must list anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One change. `old` is the object before it (None when added); for DELETED `object` is its last state."""

    type: str
    object: Object
    old: Object | None
    version: int


Listener = Callable[[WatchEvent], None]


class EventLog:
    """The changes of one kind, and who listens to them."""

    def __init__(self, compacted: int, kept: int = KEPT) -> None:
        self._events: deque[WatchEvent] = deque()
        self._listeners: list[Listener] = []
        self._kept = kept
        self.compacted = compacted

    def append(self, event: WatchEvent) -> None:
        """Keep an event and tell everybody; the oldest is forgotten when there are too many."""
        self._events.append(event)
        if len(self._events) > self._kept:
            self.compacted = self._events.popleft().version
        for listener in tuple(self._listeners):
            listener(event)

    def since(self, version: int) -> list[WatchEvent]:
        """Give the events after `version`; raises StatusError(410)."""
        if version < self.compacted:
            raise expired(f"too old resource version: {version} ({self.compacted})")
        return [event for event in self._events if event.version > version]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change; the returned function ends that."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop
