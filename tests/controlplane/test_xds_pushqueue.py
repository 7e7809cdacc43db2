"""What waits for a stream that is busy: merged, and known by its oldest change."""

from __future__ import annotations

import asyncio

from controlplane.xds.pushqueue import PushQueue
from meshapi.xds import Type

A, B = (Type.ROUTES, "a"), (Type.ROUTES, "b")


async def test_what_waits_is_taken_in_one_and_is_as_old_as_its_oldest_change() -> None:
    """What is told again without a change has no age, and hides none."""
    queue = PushQueue()
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
    queue = PushQueue()
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.end()
    queue.add([A], 1.0)

    assert await taking is None
    assert await queue.take() is None
