"""What waits for a stream that is busy: merged, and known by its oldest change."""

from __future__ import annotations

import asyncio
import itertools

from controlplane.xds.pace import TURNS, Pace
from controlplane.xds.pushqueue import PushQueue
from meshapi.xds import Type

A, B = (Type.ROUTES, "a"), (Type.ROUTES, "b")


async def test_what_waits_is_taken_in_one_and_is_as_old_as_its_oldest_change() -> None:
    """What is told again without a change has no age, and hides none."""
    queue = PushQueue(Pace())
    assert queue.waiting_since == 0.0
    queue.add([A])
    assert queue.waiting_since == 0.0
    queue.add([B], 7.0)
    queue.add([A], 9.0)
    assert queue.waiting_since == 7.0

    assert await queue.take() == {A, B}
    assert (queue.seen, queue.waiting_since) == (7.0, 0.0)
    queue.add([], 11.0)
    assert queue.waiting_since == 0.0
    queue.add([A], 12.0)
    assert queue.waiting_since == 12.0


async def test_end_is_told_to_who_waits() -> None:
    """There is nothing to take any more."""
    queue = PushQueue(Pace())
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.end()
    queue.add([A], 1.0)

    assert await taking is None
    assert await queue.take() is None


async def test_streams_told_at_once_take_theirs_a_few_an_iteration_of_the_loop() -> None:
    """Also those that were busy when the change came; and one whose stream has ended holds up nobody."""
    pace, order, seen = Pace(), list[int](), list[int]()
    queues = [PushQueue(pace) for _ in range(5 * TURNS)]

    async def take(number: int) -> None:
        await queues[number].take()
        order.append(number)

    idle = [asyncio.ensure_future(take(number)) for number in range(3 * TURNS)]
    await asyncio.sleep(0)
    for queue in queues:
        queue.add([A], 1.0)
    idle[2 * TURNS].cancel()
    busy = [asyncio.ensure_future(take(number)) for number in range(3 * TURNS, 5 * TURNS)]
    while len(order) < 5 * TURNS - 1:
        seen.append(len(order))
        await asyncio.sleep(0)
    await asyncio.gather(*idle, *busy, return_exceptions=True)

    assert order == [number for number in range(5 * TURNS) if number != 2 * TURNS]
    assert max(after - before for before, after in itertools.pairwise(seen)) <= TURNS
