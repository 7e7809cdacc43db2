"""Header modifications: the chosen target's first, then the route's, of the request and of its answer.

Counts `edited`, a request.
"""

from __future__ import annotations

from typing import Any

from dataplane.protocol.events import Headers
from dataplane.proxy.stages.face import CONTINUE, Case, Stage
from dataplane.tables.routes import RouteRow, TargetRow


class Edits(Stage):
    """Of one route and its targets."""

    __slots__ = ("_row",)

    def __init__(self, row: RouteRow, answers: bool) -> None:
        super().__init__(answers)
        self._row = row

    def on_request(self, exchange: Any) -> int:
        """Change the request's fields."""
        headers = exchange.head.headers
        exchange.runtime.metrics.events.of("edited").value += 1
        target: TargetRow | None = exchange.target
        if target is not None and target.request_edit is not None:
            target.request_edit.apply(headers)
        for edit in self._row.request_edits:
            edit.apply(headers)
        return CONTINUE

    def explain(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say which fields are changed."""
        row = self._row
        edits = [*(target.request_edit for target in row.targets), *row.request_edits]
        answers = [*(target.response_edit for target in row.targets), *row.response_edits]
        said = {"request_headers": edits, "response_headers": answers}
        return {
            key: [name for one in those if one is not None for name in one.names]
            for key, those in said.items()
            if any(those)
        }

    def on_response(self, exchange: Any, headers: Headers) -> None:
        """Change the answer's."""
        target: TargetRow | None = exchange.target
        if target is not None and target.response_edit is not None:
            target.response_edit.apply(headers)
        for edit in self._row.response_edits:
            edit.apply(headers)


def of(row: RouteRow) -> Stage | None:
    """Return the stage of a route with edits."""
    asked = row.request_edits or any(target.request_edit is not None for target in row.targets)
    answers = bool(row.response_edits) or any(target.response_edit is not None for target in row.targets)
    return Edits(row, answers) if asked or answers else None
