"""Whether a client may ask what it asks: the rules for requests (`tables/authz`), before any route is looked at.

Counts `rbac_allowed`, `rbac_denied` and what rules on trial would have said.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Case, Stage
from dataplane.tables.authz import ALWAYS_ALLOW, Guard
from dataplane.telemetry.metrics import Counter

_ALWAYS_ALLOW = ALWAYS_ALLOW  # a plain C integer when compiled


class Authorizer(Stage):
    """Of one connection, by the rules as far as that decides them; `admitted` counts who is let in."""

    __slots__ = ("_admitted", "_guard")

    def __init__(self, guard: Guard, admitted: Counter) -> None:
        super().__init__()
        self._guard = guard
        self._admitted = admitted

    def on_request(self, exchange: Any) -> int:
        """Admit, or answer 403."""
        guard = self._guard
        if guard.shadow is not None:
            word = "rbac_shadow_allowed" if guard.shadow.admits(exchange.head) else "rbac_shadow_denied"
            exchange.runtime.metrics.events.of(word).value += 1
        if guard.state == _ALWAYS_ALLOW or guard.admits(exchange.head):
            self._admitted.value += 1
            return CONTINUE
        exchange.runtime.metrics.events.of("rbac_denied").value += 1
        exchange.client.refused()
        exchange.refuse(errors.RBAC_DENIED)
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:
        """Say which rule decides."""
        allowed = self._guard.admits(case.head)
        said = {"authorization": self._guard.verdict}
        if not allowed:
            said["outcome"] = f"403 rbac_denied: {self._guard.verdict}"
        return said
