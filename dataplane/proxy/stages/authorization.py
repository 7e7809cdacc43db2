"""Whether a client may ask what it asks: the rules of its connection (`tables/authz`), before any route is looked at.

Counts `rbac_allowed`, `rbac_denied` and what rules on trial would have said. What it says to people is in `explain`, with the
rules of the connection itself.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.arrive import standing
from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Stage


class Authorization(Stage):
    """One for all connections: each is bound to its own rules."""

    __slots__ = ()

    def on_request(self, exchange: Any) -> int:
        """Admit, or answer 403."""
        client = exchange.client
        if client.admits(exchange.head):
            return CONTINUE
        if client.standing != standing.FOLLOWS:
            client.come_anew()
        exchange.refuse(errors.RBAC_DENIED)
        return ANSWERED
