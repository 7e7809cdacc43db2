"""One write as the registry sees it: who makes it, how strictly it is read, and what the caller is told besides.

In: what a request's headers and parameters say. Out: `Call`, `Patch`, and the face of the gate that judges objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from devcluster.api.errors import Object
from devcluster.api.kinds import Resource
from devcluster.api.users import SYSTEM, User


class PatchKind(Enum):
    """How a patch is to be read: its content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change to an object."""

    kind: PatchKind
    body: Any
    force: bool = False
    """For APPLY: take fields other managers own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who writes, and how. A plain User stands for a call with nothing special."""

    user: User = SYSTEM
    dry_run: bool = False
    manager: str = "kube-controller-manager"
    """The name in `managedFields`."""
    validation: str = ""
    """What unknown fields do: Strict, Warn or Ignore; empty for objects this process makes itself, which are not read strictly."""
    warnings: list[str] = field(default_factory=list)
    """Filled in by the gate, sent as Warning headers."""
    version: str = ""
    """The version the caller speaks, when it is not the stored one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a gate is asked about."""

    row: Resource
    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    call: Call
    subresource: str = ""
    options: Object = field(default_factory=dict)


class Gate(Protocol):
    """Schemas and admission, as the registry asks them."""

    def decode(self, step: Step, obj: Object) -> None:
        """Refuse or report what no schema knows; custom kinds are pruned in place."""

    def default(self, step: Step, obj: Object) -> None:
        """Fill the defaults of custom kinds in, in place."""

    async def mutate(self, step: Step, obj: Object, old: Object | None) -> Object:
        """Let mutating admission change an object."""

    async def validate(self, step: Step, obj: Object | None, old: Object | None) -> None:
        """Refuse what rules or validating admission refuse."""


class OpenGate:
    """A gate that lets everything through, for a registry alone."""

    def decode(self, step: Step, obj: Object) -> None:
        """Let pass."""

    def default(self, step: Step, obj: Object) -> None:
        """Leave as it is."""

    async def mutate(self, step: Step, obj: Object, old: Object | None) -> Object:  # noqa: ARG002 - a gate's face
        """Let pass."""
        return obj

    async def validate(self, step: Step, obj: Object | None, old: Object | None) -> None:
        """Let pass."""
