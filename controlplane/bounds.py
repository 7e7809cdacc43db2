"""What one pod and one node may cost a replica, so that nobody can take everybody's part.

In: who asks (`Who`), how much, and for budgets the time. Out: nothing. Refuses, with FullError, what would be more than the pod's or the node's bound; then
nothing is counted. Both kinds forget who holds or has asked nothing of late, so memory follows who is there. Pure: the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_SWEEP_FROM = 1024
"""Budgets look for keys to forget when there are so many, and then twice what was left."""


class Who(NamedTuple):
    """A caller, as far as it is known: an empty name is not bounded."""

    namespace: str = ""
    pod: str = ""
    node: str = ""

    def parts(self) -> Iterator[tuple[str, Hashable]]:
        """What it counts as, in words and as a key."""
        if self.pod:
            yield f"pod {self.namespace}/{self.pod}", (self.namespace, self.pod)
        if self.node:
            yield f"node {self.node}", self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much a pod, and all pods of a node together, may have."""

    pod: int
    node: int

    def of(self, key: Hashable) -> int:
        """Choose by the kind of key."""
        return self.pod if isinstance(key, tuple) else self.node


class FullError(Exception):
    """More than a pod or node may have; the message says which, of what, and how many it may."""


STREAMS = Bound(pod=16, node=2_000)
"""A sidecar has one; one that lost its connection opens the next before the last is found dead (30 s)."""
NAMES = Bound(pod=100_000, node=500_000)
"""A sidecar lets go beyond 20,000 destinations, each of four names."""
CERTIFICATES = Bound(pod=10, node=500)
"""At once; one in 10 s goes on after that for a pod, 20 a second for a node. The shortest life is renewed every 24 s."""
REVIEWS = Bound(pod=20, node=1_000)
"""Tokens never seen before, at once; one a second after that for a pod, 50 for a node. What was reviewed is remembered for a minute."""
STATEMENTS = Bound(pod=10, node=50)
"""At once; one a second after that for a pod, five for a node. Replicas ask each other every two seconds."""


class Shares:
    """What is held now."""

    def __init__(self, what: str, bound: Bound) -> None:
        self.what = what
        self._bound = bound
        self._held: dict[Hashable, int] = {}
        self.refused = 0

    def take(self, who: Who, amount: int = 1) -> None:
        """Count something as held; raises FullError."""
        for name, key in who.parts():
            most = self._bound.of(key)
            if self._held.get(key, 0) + amount > most:
                self.refused += 1
                raise FullError(f"{name} may have {most} {self.what} at once")
        for _, key in who.parts() if amount else ():
            self._held[key] = self._held.get(key, 0) + amount

    def give(self, who: Who, amount: int = 1) -> None:
        """Count something as held no more."""
        for _, key in who.parts():
            left = self._held.get(key, 0) - amount
            if left:
                self._held[key] = left
            else:
                self._held.pop(key, None)

    def __len__(self) -> int:
        """Pods and nodes that hold something."""
        return len(self._held)


class Budgets:
    """What is asked in a row: so many at once, and one more after each interval.

    The generic cell rate algorithm (ITU-T I.371): of each key one time is kept, when it would have asked for everything had it waited its turns.
    """

    def __init__(self, what: str, bound: Bound, *, pod_seconds: float, node_seconds: float) -> None:
        self.what = what
        self._bound = bound
        self._pod_seconds, self._node_seconds = pod_seconds, node_seconds
        self._turns: dict[Hashable, float] = {}
        self._sweep_at = _SWEEP_FROM
        self.refused = 0

    def spend(self, who: Who, now: float) -> None:
        """Ask once, at a monotonic time in seconds; raises FullError."""
        for name, key in who.parts():
            each, most = self._each(key), self._bound.of(key)
            early = self._turns.get(key, now) - now - each * (most - 1)
            if early > 1e-9:  # sums of intervals are not exact
                self.refused += 1
                raise FullError(f"{name} may ask for {most} {self.what} at once and one each {each:g} s; try again")
        for _, key in who.parts():
            self._turns[key] = max(self._turns.get(key, now), now) + self._each(key)
        if len(self._turns) > self._sweep_at:
            self._turns = {key: turn for key, turn in self._turns.items() if turn > now}
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._turns))

    def _each(self, key: Hashable) -> float:
        return self._pod_seconds if isinstance(key, tuple) else self._node_seconds

    def __len__(self) -> int:
        """Pods and nodes remembered."""
        return len(self._turns)
