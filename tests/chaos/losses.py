"""What callers lost, and what of it Kubernetes itself would have lost too (pure).

In: lines the load wrote, and what a row of the table says Kubernetes itself would fail. Out: failures, and those nothing excuses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request that came to nothing."""

    at: float
    """Seconds since the epoch."""
    kind: str
    how: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind} {self.how}: {self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What Kubernetes itself would fail, at most so many of it."""

    most: int
    kinds: frozenset[str] = frozenset({ANY})
    hows: frozenset[str] = frozenset({"cut"})
    words: str = ""
    """What must be in the failure's words; the empty word is everything."""

    def covers(self, failure: Failure) -> bool:
        """Tell whether a failure is of this sort."""
        return (
            (ANY in self.kinds or failure.kind in self.kinds)
            and failure.how in self.hows
            and self.words in failure.words
        )


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the load told in some stretch of time."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def take(self, other: Tally) -> None:
        """Add what came later."""
        self.done.update(other.done)
        self.failures += other.failures


def read(lines: Iterable[str]) -> tuple[Counter[str], list[Failure]]:
    """Read lines of the load: the last sums, and every failure."""
    done: Counter[str] = Counter()
    failures = []
    for line in lines:
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if "done" in told:
            done = Counter(told["done"])
        elif "how" in told:
            failures.append(Failure(at=told["at"], kind=told["kind"], how=told["how"], words=told["words"]))
    return done, failures


def unexcused(failures: Sequence[Failure], losses: Sequence[Loss]) -> list[Failure]:
    """Keep the failures that no loss covers, and those beyond what it may be."""
    left = [loss.most for loss in losses]
    kept = []
    for failure in failures:
        for number, loss in enumerate(losses):
            if left[number] and loss.covers(failure):
                left[number] -= 1
                break
        else:
            kept.append(failure)
    return kept
