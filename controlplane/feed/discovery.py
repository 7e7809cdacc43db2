"""In which version a custom kind is followed: the newest that is served and can be read, as its CustomResourceDefinition says, at once when that changes.

In: the definition as its reflector brings it. Out: a version, "" when the kind is absent or served in none that can be read. A definition says more, and sooner,
than the discovery documents made from it: those lag behind, and no watch tells when they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from controlplane.feed.kinds import Kind


def served(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Versions the API server answers for; none until it has taken the definition in."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    if not any((one.get("type"), one.get("status")) == ("Established", "True") for one in conditions):
        return ()
    return tuple(one["name"] for one in (definition.get("spec") or {}).get("versions") or () if one.get("served"))


def newest(kind: Kind, offered: tuple[str, ...]) -> str:
    """Choose a version to follow; "" when none can be read."""
    return next((version for version in kind.versions if version in offered), "")


class ServedVersion:
    """What is chosen for one kind; the sink of its definition's reflector."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.chosen: str | None = None
        """None until the definition, or that there is none, is known."""
        self.offered: tuple[str, ...] = ()
        self.changed = asyncio.Event()

    @property
    def unreadable(self) -> str:
        """Say why a kind that is there cannot be read; empty when it can, or is not there."""
        if self.chosen or not self.offered:
            return ""
        return f"it is served as {', '.join(self.offered)}, and can be read as {', '.join(self._kind.versions)}"

    def apply(self, _kind: str, definition: Mapping[str, Any], /) -> None:
        """Take in the definition as it is now."""
        self._choose(served(definition))

    def remove(self, _kind: str, _namespace: str, _name: str, /) -> None:
        """The kind was uninstalled."""
        self._choose(())

    def retain(self, _kind: str, places: set[tuple[str, str]], /) -> None:
        """Take in that a list held the definition, or none."""
        if not places:
            self._choose(())

    def _choose(self, offered: tuple[str, ...]) -> None:
        before = self.chosen, bool(self.offered)
        self.chosen, self.offered = newest(self._kind, offered), offered
        # There and unreadable is another thing than not there.
        if (self.chosen, bool(offered)) != before:
            self.changed.set()
