"""Rigs that are closed, and found empty, after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.dataplane.proxy.rig import Rig


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Make rigs; each is checked for leaks at the end."""
    made: list[Rig] = []

    def make(*args: object, **kwargs: object) -> Rig:
        made.append(Rig(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
