"""What an endpoint's own conduct says of it: whether it takes its turns, is left alone for a while, or is on trial.

In: what came of connecting to it and of requests to it, with the clock and the dice as arguments. Out: its state, and when it is
due to be tried. Always on and local: each worker learns for itself, so it holds while the control plane is away. Refuses nothing:
how many may be passed over is `share`, and where all fail none is.

A failed attempt to connect sets aside at once, and so does a sidecar that says its app cannot be reached: nobody else's request
needs to learn the same. A request that got no answer may be the request's fault, so it takes several in a row. The back-off
doubles with every trial that fails. What was given to an endpoint before it was set aside and fails later is no news.
"""

from __future__ import annotations

from typing import Final

WELL: Final = 0
ASIDE: Final = 1
TRIAL: Final = 2
STATES: Final = ("well", "set aside", "on trial")

FAILED: Final = 0
DUE: Final = 1
"""The back-off is over and somebody finds out."""
ANSWERED: Final = 2

MOVES: Final = {
    (WELL, FAILED): ASIDE,
    (WELL, ANSWERED): WELL,
    (ASIDE, FAILED): ASIDE,
    (ASIDE, DUE): TRIAL,
    (ASIDE, ANSWERED): WELL,
    (TRIAL, FAILED): ASIDE,
    (TRIAL, DUE): TRIAL,
    (TRIAL, ANSWERED): WELL,
}
"""The life of an endpoint; a trial nobody hears of again is due anew after another back-off."""

CONNECTING: Final = 0
"""No connection, or one that went silent: a connection tells when that is over."""
REFUSED: Final = 1
"""Its sidecar refuses what it could not hand on: only a request tells when that is over."""
UNANSWERED: Final = 2
"""A request was broken off before its answer."""

# C integers when compiled.
_WELL = WELL
_ASIDE = ASIDE
_TRIAL = TRIAL
_CONNECTING = CONNECTING
_UNANSWERED = UNANSWERED

IN_A_ROW: Final = 5
"""Requests without an answer, and without one that was answered between them, that set an endpoint aside; Envoy's default."""
_MOST_DOUBLINGS = 20


def share(failing: int, endpoints: int) -> int:
    """How many of them may be passed over: at most half, so that those left are not crushed; none when all fail."""
    return 0 if failing >= endpoints else min(failing, endpoints // 2)


def back_off(rounds: int, bounds: tuple[float, float], dice: float) -> float:
    """Seconds until the next trial after so many in a row that failed (from 1): doubling, up to a quarter less by lot."""
    shortest, longest = bounds
    return min(shortest * 2.0 ** min(rounds - 1, _MOST_DOUBLINGS), longest) * (1.0 - dice / 4.0)


class Ward:
    """What the endpoints of a cluster share: how often the state of one of them changed. Outlives pushes."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes = 0


class Health:
    """One endpoint's conduct, for as long as it is an endpoint."""

    __slots__ = ("_ward", "cause", "failures", "rounds", "state", "until", "why")

    def __init__(self, ward: Ward | None) -> None:
        self._ward = ward
        """None where nobody can stand in for it: it is always well."""
        self.state = WELL
        self.failures = 0
        """Since the last answer; never 0 unless well."""
        self.rounds = 0
        """Back-offs in a row."""
        self.until = 0.0
        """When it is due, unless well."""
        self.cause = CONNECTING
        self.why = ""

    def failed(self, now: float, cause: int, why: str, pause: tuple[float, float], dice: float) -> bool:
        """Take note of a failure; return whether the endpoint is set aside because of it. `pause` bounds the back-off."""
        if self._ward is None:
            return False
        self.failures += 1
        if self.state == _WELL:
            if cause == _UNANSWERED and self.failures < IN_A_ROW:
                return False
        elif self.state == _ASIDE and now < self.until:
            return False
        self.rounds += 1
        self.cause = cause
        self.why = why
        self.until = now + back_off(self.rounds, pause, dice)
        self._move(FAILED)
        return True

    def answered(self) -> bool:
        """Forget all failures; return whether it had been set aside."""
        back = self.state != _WELL
        self.failures = 0
        self.rounds = 0
        if back:
            self._move(ANSWERED)
        return back

    def connected(self, now: float) -> bool:
        """A connection is there: all is forgotten where that was the trouble, else a request may be its trial at once."""
        if self.state == _WELL:
            return False
        if self.cause == _CONNECTING:
            return self.answered()
        if self.state == _TRIAL:
            self.until = now
            self._ward.changes += 1  # type: ignore[union-attr]
        return False

    def begin_trial(self, now: float, pause: tuple[float, float]) -> None:
        """It is due, and somebody finds out; nobody else does until the same time has passed again."""
        self.until = now + back_off(self.rounds, pause, 0.0)
        self._move(DUE)

    def _move(self, event: int) -> None:
        self.state = MOVES[self.state, event]
        self._ward.changes += 1  # type: ignore[union-attr]

    def describe(self, now: float) -> str:
        """Say it in words; nothing when it is well."""
        if self.state == _WELL:
            return ""
        if self.state == _TRIAL:
            return f"on trial after {self.why}"
        return f"set aside after {self.why}, for another {max(0.0, self.until - now):.1f} s"
