"""Another path, another host, as the route says: what the server is asked in place of what the client did.

Counts `rewritten`.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.stages.face import CONTINUE, Case, Stage
from dataplane.tables.routes import RouteRow


class Rewriter(Stage):
    """Of one route."""

    __slots__ = ("_row",)

    def __init__(self, row: RouteRow) -> None:
        super().__init__()
        self._row = row

    def on_request(self, exchange: Any) -> int:
        """Change the head."""
        row = self._row
        head = exchange.head
        exchange.runtime.metrics.events.of("rewritten").value += 1
        if row.rewrites:
            head.path = row.rewrite(head.path)
        if row.host_rewrite:
            head.authority = row.host_rewrite
        return CONTINUE

    def explain(self, case: Case) -> dict[str, Any]:
        """Say what will be asked."""
        said = {}
        if self._row.rewrites:
            said["path"] = self._row.rewrite(case.head.path).decode("latin-1")
        if self._row.host_rewrite:
            said["host"] = self._row.host_rewrite.decode("latin-1")
        return said


def of(row: RouteRow) -> Stage | None:
    """Return the stage of a route that rewrites."""
    return Rewriter(row) if row.rewrites or row.host_rewrite else None
