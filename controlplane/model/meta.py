"""How things are named, and how a mistake in them is told.

Every noun of the model carries a `Key`. A `Problem` is the one way user mistakes leave `ingest` and `compiler`: a word for
programs, a sentence for people; `write/status.py` writes it where the user looks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Fields(Protocol):
    """An object, or a part of one, as the API has it: in a dict, or in a record of the store."""

    def get(self, key: str, /) -> Any:
        """Give a field by the API's name of it."""


class Key(NamedTuple):
    """Namespace and name; the namespace is empty for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class RouteKey(NamedTuple):
    """One route object of any kind."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """What is wrong with one object, for its status and the log."""

    kind: str
    namespace: str
    name: str
    reason: str
    """One CamelCase word."""
    message: str
    """A sentence that says what is wrong and what would be right."""
    generation: int = 0
    """Of the form that was read."""

    def __str__(self) -> str:
        return f"{self.kind} {Key(self.namespace, self.name)}: {self.message}"


def created(metadata: Mapping[str, Any]) -> float:
    """Read when an object was made, in whole seconds of Unix time; long ago when it does not say."""
    try:
        return dt.datetime.fromisoformat(str(metadata.get("creationTimestamp"))).timestamp()
    except ValueError:
        return 0.0
