"""Long answers of the admin port: written a slice a turn of the loop, as their readers have room, so that traffic waits for none of them.

In: iterators of slices, each made when it is taken; clients that say whether they have room. Out: slices to clients, one in all between two batches of traffic, the clients in turn.
Bounded: so many answers are under way, each with so much time, and so much of it unread; others wait a while and are refused then.

| state | means | becomes |
|---|---|---|
| WAITING | as many as may be are under way | WRITING when one of them ends; GONE after `WAIT_SECONDS` |
| WRITING | a slice is made at its next turn | HELD when its client has no room; DONE after the last slice |
| HELD | the client has not taken what it was sent | WRITING when it has |
| DONE | all was written | |
| GONE | the client is gone, was refused, or was too slow: `SECONDS` after it began | |
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from dataplane.net.poller import Pollable, Poller
from dataplane.net.timers import Timer

MOST = 8
"""Answers under way at once: whoever reaches the port may ask, and need not read."""
MOST_WAITING = 32
WAIT_SECONDS = 5.0
SECONDS = 60.0


class State(enum.Enum):
    """See the table above."""

    WAITING = enum.auto()
    WRITING = enum.auto()
    HELD = enum.auto()
    DONE = enum.auto()
    GONE = enum.auto()


class Client(Protocol):
    """Who is answered."""

    def begin(self) -> None:
        """The answer begins: its head may be sent."""

    def slice(self, data: bytes) -> bool:
        """Take a slice; False when there is no room for another until `LongAnswer.room`."""

    def end(self) -> None:
        """There was the last slice."""

    def refuse(self, sentence: str) -> None:
        """The answer does not begin."""

    def cut(self) -> None:
        """The answer does not end: the client must not take it for whole."""


class LongAnswer:
    """One answer under way."""

    __slots__ = ("_turns", "client", "slices", "state", "timer")

    def __init__(self, turns: Turns, slices: Iterator[bytes], client: Client) -> None:
        self._turns = turns
        self.slices = slices
        self.client = client
        self.state = State.WAITING
        self.timer: Timer | None = None

    def room(self) -> None:
        """The client has taken what it was sent."""
        if self.state is State.HELD:
            self.state = State.WRITING
            self._turns.queue(self)

    def gone(self) -> None:
        """The client is gone."""
        self._turns.leave(self, State.GONE)


class Turns(Pollable):
    """All long answers of a worker, and whose slice is next."""

    __slots__ = ("_queue", "_waiting", "under_way")

    def __init__(self, poller: Poller) -> None:
        super().__init__(poller, -1)
        self.under_way: set[LongAnswer] = set()
        self._queue: deque[LongAnswer] = deque()
        self._waiting: deque[LongAnswer] = deque()

    def answer(self, slices: Iterator[bytes], client: Client) -> LongAnswer:
        """Begin an answer, or have it wait until there is room for it."""
        made = LongAnswer(self, slices, client)
        if len(self.under_way) < MOST:
            self._begin(made)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(made)
            made.timer = self.poller.timers.after(WAIT_SECONDS, lambda: self._refuse(made))
        else:
            self._refuse(made)
        return made

    def queue(self, answer: LongAnswer) -> None:
        """Have its next slice written at its turn."""
        self._queue.append(answer)
        if len(self._queue) == 1:
            self.poller.again(self)

    def ready(self, mask: int) -> None:  # noqa: ARG002 - of Pollable; it has no descriptor
        """Write the next slice of whose turn it is; one, then traffic is served."""
        while self._queue:
            answer = self._queue.popleft()
            if answer.state is State.WRITING:
                break
        else:
            return
        if self._queue:
            self.poller.again(self)
        try:
            data = next(answer.slices, b"")
        except Exception as error:  # noqa: BLE001 - a supervisor: a broken answer ends itself alone
            self.poller.defect("an answer of the admin port was cut", error)
            self._cut(answer)
            return
        if not data:
            self.leave(answer, State.DONE)
            answer.client.end()
        elif answer.client.slice(data):
            self.queue(answer)
        elif answer.state is State.WRITING:
            answer.state = State.HELD

    def failed(self, error: BaseException) -> None:  # noqa: ARG002 - told already; of Pollable
        """A client could not take its slice: the others go on, and it is cut when its time is over."""
        if self._queue:
            self.poller.again(self)

    def leave(self, answer: LongAnswer, state: State) -> None:
        """An answer is over; who waited longest begins."""
        if answer.state in {State.DONE, State.GONE}:
            return
        waited = answer.state is State.WAITING
        answer.state = state
        answer.slices = iter(())
        if answer.timer is not None:
            answer.timer.cancel()
        if waited:
            if answer in self._waiting:
                self._waiting.remove(answer)
            return
        self.under_way.discard(answer)
        if self._waiting and len(self.under_way) < MOST:
            self._begin(self._waiting.popleft())

    def _begin(self, answer: LongAnswer) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        answer.timer = self.poller.timers.after(SECONDS, lambda: self._cut(answer))
        answer.state = State.WRITING
        self.under_way.add(answer)
        answer.client.begin()
        self.queue(answer)

    def _refuse(self, answer: LongAnswer) -> None:
        self.leave(answer, State.GONE)
        answer.client.refuse(f"{MOST} clients are reading as much already; try again")

    def _cut(self, answer: LongAnswer) -> None:
        self.leave(answer, State.GONE)
        answer.client.cut()
