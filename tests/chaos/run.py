"""Have rows happen to a world, and judge what came of each.

In: a world and rows, one or several at a time. Out: a `Result` each: what was lost that Kubernetes itself would not have lost, and what did not hold. A row that fails does not
stop the others.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.losses import Failure, unexcused
from tests.chaos.table import Row
from tests.chaos.world import World, failed

TOGETHER = 0.4
"""Share of draws in which two rows happen at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    rows: tuple[Row, ...]
    seconds: float
    requests: int
    excused: int
    """Failures that Kubernetes itself would have had."""
    lost: list[Failure]
    problems: list[str]
    """What did not hold, in words."""
    unanswered: int
    """Readiness probes that were not answered in time: with many of them this says more of the machine than of the mesh."""

    @property
    def name(self) -> str:
        """The rows' names."""
        return " + ".join(row.name for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether all held."""
        return not self.lost and not self.problems

    @property
    def words(self) -> str:
        """Say what was wrong."""
        slow = [f"{self.unanswered} probes were not answered in time"] if self.unanswered and not self.ok else []
        return "; ".join([*slow, *self.problems, *([failed(self.lost)] if self.lost else [])])


def happen(world: World, *rows: Row) -> Result:
    """Have rows happen together, and judge."""
    begin = time.monotonic()
    world.begin()
    problems: list[str] = []
    threads = [threading.Thread(target=_one, args=(world, row, problems)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        world.settled()
        world.served()
    except (AssertionError, OSError) as error:
        problems.append(f"afterwards: {_brief(error)}")
        world.heard()
    told = world.tally
    lost = unexcused(told.failures, [loss for row in rows for loss in row.fails])
    return Result(
        rows=rows,
        seconds=time.monotonic() - begin,
        requests=sum(told.done.values()) + len(told.failures),
        excused=len(told.failures) - len(lost),
        lost=lost,
        problems=problems,
        unanswered=world.unanswered(),
    )


def _one(world: World, row: Row, problems: list[str]) -> None:
    try:
        row.event(world)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's result
        problems.append(f"{row.name}: {type(error).__name__}: {_brief(error)}")


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


def draw(table: Sequence[Row], dice: random.Random) -> Iterator[tuple[Row, ...]]:
    """Draw for ever: every row in some order, and again; now and then two at a time that do not need the same."""
    while True:
        order = dice.sample(table, len(table))
        while order:
            row = order.pop()
            second = next((one for one in order if not one.holds & row.holds), None)
            if second is not None and dice.random() < TOGETHER:
                order.remove(second)
                yield row, second
            else:
                yield (row,)


def short(table: Sequence[Row], seed: int, count: int) -> list[tuple[Row, ...]]:
    """Draw some of the rows that fit into a minute."""
    return list(itertools.islice(draw([row for row in table if row.short], random.Random(seed)), count))
