"""One pass over some keys of a table: each made anew, and what comes out equal stays the one there was.

In: the table before, the keys whose inputs changed, and how to make one. Out: the table after. A fault in making one value is its own: the last one stays, `Faults` has the
reason, and the next pass tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from controlplane.model.steps import SLICE, Steps
from meshapi.table import Table

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Faults:
    """What could not be made, by pass and key."""

    def __init__(self) -> None:
        self.by_pass: dict[str, dict[Any, Exception]] = {}

    def keys(self, what: str) -> Iterable[Any]:
        """Which keys a pass could not make."""
        return self.by_pass.get(what, {}).keys()

    def told(self) -> dict[str, Exception]:
        """All of them, by name."""
        return {f"{what} {key}": error for what, of in self.by_pass.items() for key, error in of.items()}


def remade(
    what: str, before: Table[K, V], keys: Iterable[K], make: Callable[[K], V | None], faults: Faults
) -> Steps[Table[K, V]]:
    """Make some keys anew; None takes one away."""
    made: dict[K, V | None] = {}
    for number, key in enumerate(keys):
        try:
            made[key] = make(key)
        except Exception as error:  # noqa: BLE001 - the supervisor of one key
            faults.by_pass.setdefault(what, {})[key] = error
        if number % SLICE == SLICE - 1:
            yield
    return before.after(made)
