"""Long answers of the admin port: written a slice a turn of the loop, as their readers have room, so that traffic waits for none of them.

In: iterators of slices, each made when it is taken; clients that say whether they have room. Out: slices to clients, one in all between two batches of traffic, the clients in turn.
Bounded: so many answers are under way, each with so much time, and so much of it unread; others wait a while and are refused then. Who does not read makes room for who waits.
The control plane's questions are a `Share` of their own: nobody who merely reaches the port keeps it out.

| state | means | becomes |
|---|---|---|
| WAITING | as many as may be are under way | WRITING when one of them ends; GONE after `WAIT_SECONDS` |
| WRITING | a slice is made at its next turn | HELD when its client has no room; DONE after the last slice |
| HELD | the client has not taken what it was sent | WRITING when it has |
| DONE | all was written | |
| GONE | the client is gone, was refused, or was too slow: `SECONDS` after it began, or HELD for `HELD_SECONDS` while another waits | |
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
HELD_SECONDS = 2.0
"""A client that took nothing for so long makes room for one that waits."""


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


class Nobody:
    """A client that takes nothing; stands for that of an answer that is over."""

    def begin(self) -> None:
        """Nobody is answered."""

    def slice(self, data: bytes) -> bool:  # noqa: ARG002 - of Client
        """Nobody takes it."""
        return False

    def end(self) -> None:
        """It is over already."""

    def refuse(self, sentence: str) -> None:
        """Nobody asked."""

    def cut(self) -> None:
        """It is over already."""


_NOBODY = Nobody()


class Share:
    """Answers that keep each other waiting, and no others."""

    __slots__ = ("held", "room", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way: set[LongAnswer] = set()
        self.waiting: deque[LongAnswer] = deque()
        self.held: dict[LongAnswer, float] = {}
        """Those that are HELD, the longest first, and since when."""
        self.room: Timer | None = None
        """When one that is held makes room for who waits."""


class LongAnswer:
    """One answer under way."""

    __slots__ = ("_turns", "client", "share", "slices", "state", "timer")

    def __init__(self, turns: Turns, share: Share, slices: Iterator[bytes], client: Client) -> None:
        self._turns = turns
        self.share = share
        self.slices = slices
        self.client = client
        self.state = State.WAITING
        self.timer: Timer | None = None

    def room(self) -> None:
        """The client has taken what it was sent."""
        if self.state is State.HELD:
            self.state = State.WRITING
            self.share.held.pop(self, None)
            self._turns.queue(self)

    def gone(self) -> None:
        """The client is gone."""
        self._turns.leave(self, State.GONE)


class Turns(Pollable):
    """All long answers of a worker, and whose slice is next."""

    __slots__ = ("_queue", "anybody", "control")

    def __init__(self, poller: Poller) -> None:
        super().__init__(poller, -1)
        self.anybody = Share()
        """Of whoever reaches the port."""
        self.control = Share()
        """Of the control plane."""
        self._queue: deque[LongAnswer] = deque()

    def answer(self, slices: Iterator[bytes], client: Client, share: Share | None = None) -> LongAnswer:
        """Begin an answer, or have it wait until there is room for it; anybody's where no share is named."""
        share = share or self.anybody
        made = LongAnswer(self, share, slices, client)
        if len(share.under_way) < MOST:
            self._begin(made)
        elif len(share.waiting) < MOST_WAITING:
            share.waiting.append(made)
            made.timer = self.poller.timers.after(WAIT_SECONDS, lambda: self._refuse(made))
            self._make_room(share)
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
            self.leave(answer, State.DONE).end()
        elif answer.client.slice(data):
            self.queue(answer)
        elif answer.state is State.WRITING:
            answer.state = State.HELD
            answer.share.held[answer] = self.poller.kernel.now()
            self._make_room(answer.share)

    def failed(self, error: BaseException) -> None:  # noqa: ARG002 - told already; of Pollable
        """A client could not take its slice: the others go on, and it is cut when its time is over."""
        if self._queue:
            self.poller.again(self)

    def leave(self, answer: LongAnswer, state: State) -> Client:
        """An answer is over, and its client let go of and returned; who waited longest begins."""
        if answer.state in {State.DONE, State.GONE}:
            return _NOBODY
        waited, share, client = answer.state is State.WAITING, answer.share, answer.client
        answer.state = state
        answer.slices = iter(())
        answer.client = _NOBODY  # it knows its answer: neither is to wait for the collector
        if answer.timer is not None:
            answer.timer.cancel()
        if waited:
            if answer in share.waiting:
                share.waiting.remove(answer)
            return client
        share.under_way.discard(answer)
        share.held.pop(answer, None)
        if share.waiting and len(share.under_way) < MOST:
            self._begin(share.waiting.popleft())
        return client

    def _make_room(self, share: Share) -> None:
        """Cut who has been held too long while others wait; look again when the next one will have been."""
        if share.room is not None:
            share.room.cancel()
            share.room = None
        while share.waiting and share.held:
            answer, since = next(iter(share.held.items()))
            left = since + HELD_SECONDS - self.poller.kernel.now()
            if left > 0:
                share.room = self.poller.timers.after(left, lambda: self._make_room(share))
                return
            self._cut(answer)

    def _begin(self, answer: LongAnswer) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        answer.timer = self.poller.timers.after(SECONDS, lambda: self._cut(answer))
        answer.state = State.WRITING
        answer.share.under_way.add(answer)
        answer.client.begin()
        self.queue(answer)

    def _refuse(self, answer: LongAnswer) -> None:
        self.leave(answer, State.GONE).refuse(f"{MOST} clients are reading as much already; try again")

    def _cut(self, answer: LongAnswer) -> None:
        self.leave(answer, State.GONE).cut()
