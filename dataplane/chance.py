"""Chance, where it need not be secret: which server first, and how long to wait.

In: nothing. Out: `dice`, a number in [0, 1) at each call, another row of them in each process. `random` does a hundred things more with the same generator
and is 0.2 MB of each sidecar. Refuses nothing.
"""

from __future__ import annotations

import os
from _random import Random
from collections.abc import Callable
from typing import Final

_generator: Final = Random()
dice: Final[Callable[[], float]] = _generator.random
os.register_at_fork(after_in_child=_generator.seed)  # further workers are forked, and must not do as the first one does
