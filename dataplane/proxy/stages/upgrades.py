"""Whether a request may leave HTTP for another protocol: the route's word, else the connection manager's; what neither names may.

Counts `upgrade_refused`.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Case, Stage
from dataplane.tables.listeners import ChainTable
from dataplane.tables.routes import RouteRow


class Upgrades(Stage):
    """Of one route."""

    __slots__ = ("_row",)

    def __init__(self, row: RouteRow) -> None:
        super().__init__()
        self._row = row

    def on_request(self, exchange: Any) -> int:
        """Let it, or answer 403."""
        if self._allows(exchange.head.protocol, exchange.client.chain):
            return CONTINUE
        exchange.runtime.metrics.events.of("upgrade_refused").value += 1
        exchange.refuse(errors.UPGRADE_REFUSED)
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:
        """Say so where it may not."""
        if self._allows(case.head.protocol, case.chain):
            return {}
        return {"outcome": f"403 upgrade_refused: {case.head.protocol.decode('latin-1')} is switched off here"}

    def _allows(self, protocol: bytes, chain: ChainTable) -> bool:
        protocol = protocol.lower()
        allowed = self._row.upgrades.get(protocol)
        if allowed is None:
            allowed = chain.upgrades.get(protocol, True)
        return bool(allowed)
