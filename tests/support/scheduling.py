"""Hands the files of tests to lanes (`tests.support.lanes`); imported only where `-n` asks for some."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.lanes import lane_of


class Lanes(LoadScopeScheduling):
    """A lane that is free takes the next file, in the order of the directories."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)
