"""Who asks: one noun shared by authentication, authorisation, admission and the registry.

In: what a credential says. Out: `User`. `SYSTEM` is the process itself: controllers and the runtime act as it and are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """Render as `UserInfo`, as reviews and admission requests carry it."""
        body: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            body["uid"] = self.uid
        if self.extra:
            body["extra"] = {key: list(values) for key, values in self.extra.items()}
        return body


SYSTEM = User(name="system:apiserver", groups=("system:masters", "system:authenticated"))
ANONYMOUS = User(name="system:anonymous", groups=("system:unauthenticated",))
