"""Routes that answer themselves: a redirect, or a status with a body.

Counts `redirected` and `direct_response`.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import DirectResponse, Redirect
from dataplane.protocol.events import Headers
from dataplane.proxy.stages.face import ANSWERED, Case, Stage
from dataplane.tables import redirect
from dataplane.tables.routes import RouteRow


class Redirecting(Stage):
    """Sends the client elsewhere."""

    __slots__ = ("_row", "_to")

    def __init__(self, row: RouteRow, to: Redirect) -> None:
        super().__init__()
        self._row = row
        self._to = to

    def on_request(self, exchange: Any) -> int:
        """Answer."""
        where = redirect.location(self._to, self._row.noun.match, exchange.head)
        headers: Headers = [(b"location", where, b"location"), (b"content-length", b"0", b"content-length")]
        exchange.runtime.metrics.events.of("redirected").value += 1
        exchange.answer(self._to.status, headers, b"")
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say so."""
        return {"outcome": f"{self._to.status} redirect"}


class Direct(Stage):
    """Says what the route says."""

    __slots__ = ("_response",)

    def __init__(self, response: DirectResponse) -> None:
        super().__init__()
        self._response = response

    def on_request(self, exchange: Any) -> int:
        """Answer."""
        body = self._response.body
        headers: Headers = [(b"content-length", b"%d" % len(body), b"content-length")]
        if body:
            headers.append((b"content-type", b"text/plain", b"content-type"))
        exchange.runtime.metrics.events.of("direct_response").value += 1
        exchange.answer(self._response.status, headers, body)
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say so."""
        return {"outcome": f"{self._response.status} answered by the route itself"}


def of(row: RouteRow) -> Stage | None:
    """Return the stage of a route that forwards nothing."""
    if row.redirect is not None:
        return Redirecting(row, row.redirect)
    return Direct(row.direct) if row.direct is not None else None
