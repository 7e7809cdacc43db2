"""Whose each address is.

In: what each owner claims now and claimed before. Out: the owner of each address: where one was reused while its former owner is still to be seen, the newer one's, in whatever order
they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.model.meta import Key
from meshapi.table import Table


class Claim(NamedTuple):
    """An owner's addresses, as they were and as they are; and its age, as text that sorts."""

    key: Key
    before: tuple[str, ...]
    after: tuple[str, ...]
    created_before: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """All claims, and who prevails."""

    by_address: Table[str, tuple[tuple[str, Key], ...]] = field(default_factory=Table)
    """Age and owner of each claim."""
    owners: Table[str, Key] = field(default_factory=Table)

    def after(self, claims: Iterable[Claim]) -> Claims:
        """Take changed claims in."""
        held: dict[str, set[tuple[str, Key]]] = {}

        def at(address: str) -> set[tuple[str, Key]]:
            if address not in held:
                held[address] = set(self.by_address.get(address, ()))
            return held[address]

        for claim in claims:
            if claim.before == claim.after and claim.created_before == claim.created:
                continue
            for address in claim.before:
                at(address).discard((claim.created_before, claim.key))
            for address in claim.after:
                at(address).add((claim.created, claim.key))
        if not held:
            return self
        return Claims(
            by_address=self.by_address.after({address: tuple(sorted(of)) or None for address, of in held.items()}),
            owners=self.owners.after({address: max(of)[1] if of else None for address, of in held.items()}),
        )
