"""On demand (D2): a destination is asked for when the workload first connects to it, and forgotten when idle.

In: `want(name, callback)` from an accepted connection; changes from the configuration. Out: one call of each callback, with
whether the destination is known to the mesh now. Nobody waits for a control plane that is away: then the answer is no, and
the connection passes through as plain Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from dataplane.net.timers import Timer, Timers

ANSWER_SECONDS = 2.0
"""How long a connection waits for the control plane to say what its destination is."""
WARM_SECONDS = 10.0
"""How long readiness waits for the destinations the control plane named at start."""
IDLE_SECONDS = 600.0
"""A destination nobody asked for in this long is let go."""

Callback = Callable[[bool], None]


class Subscriptions(Protocol):
    """What is subscribed: `xds.session`, or a stand-in."""

    def want(self, name: str) -> None:
        """Subscribe to a listener and what it refers to."""

    def drop(self, name: str) -> None:
        """Let a listener go."""


class Discovery:
    """The destinations this workload uses, and who waits for one."""

    def __init__(self, timers: Timers, subscriptions: Subscriptions, known: Callable[[str], bool | None]) -> None:
        self._timers = timers
        self._subscriptions = subscriptions
        self._known = known
        self._waiting: dict[str, tuple[list[Callback], Timer]] = {}
        self._used: dict[str, float] = {}
        self._fresh: set[str] = set()
        self._warming: set[str] | None = None
        """Destinations named at start that are not known yet; None before any were named."""
        self.connected = False
        """Whether the control plane can be asked now."""

    def want(self, name: str, callback: Callback) -> None:
        """Call back with whether this listener is there, at once where that is known; `known` says None while it is not."""
        self._fresh.add(name)
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting[0].append(callback)
            return
        known = self._known(name)
        if name not in self._used:
            self._used[name] = 0.0
            self._subscriptions.want(name)
            known = self._known(name)
        if known is not None or not self.connected:
            callback(bool(known))
            return
        self._waiting[name] = ([callback], self._timers.after(ANSWER_SECONDS, lambda: self._answer(name, False)))

    @property
    def warm(self) -> bool:
        """Whether the destinations named at start are known, or were waited for."""
        return self._warming is not None and not self._warming

    def adopt(self, names: Iterable[str]) -> None:
        """Take what this workload is said to use for its own, once: a hint, which ends by the same rule as any use."""
        if self._warming is not None:
            return
        self._warming = set(names)
        for name in self._warming - self._used.keys():
            self._used[name] = 0.0
            self._subscriptions.want(name)
        self._timers.after(WARM_SECONDS, self._warmed)

    def touch(self, name: str) -> None:
        """Note that a destination is in use."""
        self._fresh.add(name)

    def changed(self) -> None:
        """The configuration changed: answer who waited for what is known now."""
        for name in list(self._waiting):
            known = self._known(name)
            if known is not None:
                self._answer(name, known)
        if self._warming:
            self._warming = {name for name in self._warming if self._known(name) is None}

    def disconnected(self) -> None:
        """The control plane is away: let everybody who waits pass."""
        self.connected = False
        for name in list(self._waiting):
            self._answer(name, False)

    def sweep(self, seconds: float) -> None:
        """Let go of what was idle for long; called every `seconds`. Time without a control plane does not count: nobody could be asked again."""
        if not self.connected:
            return
        for name in list(self._used):
            idle = 0.0 if name in self._fresh else self._used[name] + seconds
            self._used[name] = idle
            if idle > IDLE_SECONDS:
                del self._used[name]
                self._subscriptions.drop(name)
        self._fresh.clear()

    def _warmed(self) -> None:
        self._warming = set()

    def _answer(self, name: str, known: bool) -> None:
        callbacks, timer = self._waiting.pop(name)
        timer.cancel()
        for callback in callbacks:
            callback(known)
