"""Who may call without mesh TLS: modes, and the policies that set them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from controlplane.model.meta import Key


class Mode(enum.Enum):
    """What an inbound sidecar takes: both, mesh TLS only, or plaintext only."""

    PERMISSIVE = "permissive"
    STRICT = "strict"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTarget:
    """What a policy is about: a Service's pods, a workload's, or those of a ServiceAccount."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """The mTLS mode of some workloads of a namespace, or of all of them when it names no target."""

    key: Key
    mode: Mode | None = None
    """None leaves it to the next wider policy."""
    ports: tuple[tuple[int, Mode], ...] = ()
    targets: tuple[PolicyTarget, ...] = ()
    generation: int = 0
    created: str = ""
