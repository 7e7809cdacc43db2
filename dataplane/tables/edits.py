"""Header modifications, compiled: one walk over the list for each set and one for all removals.

In: `config.HeaderChange`. Out: a header list changed in place, in the order set, add, remove.
Refuses nothing: framing and hop-by-hop fields, which are the codecs', are refused where changes are read (`meshapi.xds.UNCHANGEABLE`).
"""

from __future__ import annotations

from dataplane.config import HeaderChange
from dataplane.protocol.events import Header, Headers
from dataplane.protocol.fields import set_value


class HeaderEdit:
    """One compiled `HeaderChange`."""

    __slots__ = ("_add", "_remove", "_set")

    def __init__(self, change: HeaderChange) -> None:
        self._set: list[Header] = [_field(name, value) for name, value in change.set]
        self._add: list[Header] = [_field(name, value) for name, value in change.add]
        self._remove = frozenset(name.lower().encode() for name in change.remove)

    @property
    def names(self) -> list[str]:
        """The fields it changes, for people."""
        those = [field[0] for field in (*self._set, *self._add)]
        return [name.decode("latin-1") for name in (*those, *sorted(self._remove))]

    def apply(self, headers: Headers) -> None:
        """Change the list in place."""
        for field in self._set:
            set_value(headers, field[0], field[1])
        if self._add:
            headers.extend(self._add)
        if self._remove:
            kept = [field for field in headers if field[0] not in self._remove]
            if len(kept) != len(headers):
                headers[:] = kept


def _field(name: str, value: str) -> Header:
    return (name.lower().encode(), value.encode("utf-8", "surrogateescape"), name.encode())


def compile_edits(*changes: HeaderChange | None) -> tuple[HeaderEdit, ...]:
    """Compile the changes that are there, in the order given."""
    return tuple(HeaderEdit(change) for change in changes if change is not None)
