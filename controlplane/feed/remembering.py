"""Parts that many objects say alike, known again: what was made of the first stands for all that are equal to it.

In: a call that makes something of a part. Out: the same call, that remembers. A part stays known for a while after the last object that said it is gone, so only small
ones are remembered: what objects
leave behind does not grow with what somebody writes into them. Refuses nothing: of a large part it is made anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import msgspec

REMEMBERED = 16_384
"""Parts that are known again, each call its own."""
LARGEST = 1024
"""Bytes, as JSON, of a part that is remembered; a pod's containers take some two hundred."""

Part = TypeVar("Part")
Made = TypeVar("Made")


class _LargeError(Exception):
    """The part is too large to be remembered; raised, because what ends so is not cached."""


def remembered(make: Callable[[Part], Made]) -> Callable[[Part], Made]:
    """Remember what `make`, which must be pure, gives for each small part; parts are hashable, and can be written as JSON."""

    @functools.lru_cache(REMEMBERED)
    def known(part: Part) -> Made:
        if len(msgspec.json.encode(part)) > LARGEST:
            raise _LargeError
        return make(part)

    @functools.wraps(make)
    def recalled(part: Part) -> Made:
        try:
            return known(part)
        except _LargeError:
            return make(part)

    return recalled
