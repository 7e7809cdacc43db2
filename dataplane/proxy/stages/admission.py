"""Whether a peer may connect at all: the rules for connections, asked once (network RBAC filters).

Counts `rbac_allowed`, `rbac_denied` and what rules on trial would have said.
"""

from __future__ import annotations

from typing import Any

from dataplane.net.stream import Stream
from dataplane.proxy.stages.face import ConnectionStage
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.authz import ALWAYS_ALLOW, Guard, Rulebook
from dataplane.tables.conditions import Facts
from dataplane.tables.listeners import ChainTable


class Admission(ConnectionStage):
    """Of one chain."""

    __slots__ = ("_rules",)

    word = "rbac_denied"

    def __init__(self, rules: Rulebook) -> None:
        self._rules = rules

    def on_connection(self, runtime: Runtime, stream: Stream) -> str:
        """Ask the rules."""
        guard = self._bound(stream)
        events = runtime.metrics.events
        if guard.shadow is not None:
            events.of("rbac_shadow_allowed" if guard.shadow.state == ALWAYS_ALLOW else "rbac_shadow_denied").value += 1
        if guard.state == ALWAYS_ALLOW:
            events.of("rbac_allowed").value += 1
            return ""
        events.of("rbac_denied").value += 1
        return f"authorization: {guard.verdict}"

    def bars(self, stream: Stream) -> bool:
        """Ask them without counting."""
        return self._bound(stream).state != ALWAYS_ALLOW

    def explain(self, facts: Facts) -> dict[str, Any]:
        """Say which rule decides."""
        guard = self._rules.bind(facts)
        said: dict[str, Any] = {"connection_authorization": guard.verdict}
        if guard.state != ALWAYS_ALLOW:
            said["outcome"] = f"the connection is reset: {guard.verdict}"
        return said

    def _bound(self, stream: Stream) -> Guard:
        facts = Facts(stream.peer[0], stream.target or stream.local, stream.identity, stream.server_name)
        return self._rules.bind(facts)


def of(chain: ChainTable) -> ConnectionStage | None:
    """Return the stage of a chain with rules for connections."""
    return Admission(chain.admission) if chain.admission is not None else None
