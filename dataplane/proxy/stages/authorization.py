"""Whether a client may ask what it asks: the rules for requests (`tables/authz`), before any route is looked at.

Counts `rbac_allowed`, `rbac_denied` and what rules on trial would have said.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Case, Stage


class Authorization(Stage):
    """One for all connections: each is bound to its own rules (`client/terms`)."""

    __slots__ = ()

    def on_request(self, exchange: Any) -> int:
        """Admit, or answer 403."""
        client = exchange.client
        if client.admits(exchange.head):
            return CONTINUE
        client.refused()
        exchange.refuse(errors.RBAC_DENIED)
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:
        """Say which rule decides."""
        rules = case.chain.authorization
        if rules is None:
            return {}
        guard = rules.bind(case.facts)
        allowed = guard.admits(case.head)
        said = {"authorization": guard.verdict}
        if not allowed:
            said["outcome"] = f"403 rbac_denied: {guard.verdict}"
        return said
