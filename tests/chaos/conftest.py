"""The world of these tests: a cluster of their own, since what happens in it would disturb everybody else's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.world import World, running

SEED = 58
"""Of the short draw."""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A mesh under load, with events pressed together."""
    with running(tmp_path_factory.mktemp("chaos"), SEED, full=False) as world:
        yield world
