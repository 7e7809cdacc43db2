"""The form of a path before it is matched, as the connection manager wants it (`tables/forwarded`): normal, or not at all.

Counts `path_rejected` and `path_redirected`.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import PathRule
from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Case, Stage
from dataplane.tables import forwarded


class Paths(Stage):
    """Of one chain."""

    __slots__ = ("_rule",)

    def __init__(self, rule: PathRule) -> None:
        super().__init__()
        self._rule = rule

    def on_request(self, exchange: Any) -> int:
        """Bring the path into form, or answer: 400, or a redirect to the form it should have."""
        head = exchange.head
        verdict, path = forwarded.shaped(self._rule, head.path)
        if verdict == forwarded.GO_ON:
            head.path = path
            return CONTINUE
        if verdict == forwarded.REJECT or exchange.asking.grpc:
            exchange.runtime.metrics.events.of("path_rejected").value += 1
            exchange.refuse(errors.ESCAPED_SLASH)
        else:
            exchange.runtime.metrics.events.of("path_redirected").value += 1
            where = b"%s://%s%s" % (head.scheme, head.authority, path)
            exchange.answer(307, [(b"location", where, b"location"), (b"content-length", b"0", b"content-length")], b"")
        return ANSWERED

    def explain(self, case: Case) -> dict[str, Any]:
        """Say what becomes of the path; rules and routes see the form it gets."""
        head = case.head
        verdict, path = forwarded.shaped(self._rule, head.path)
        if verdict == forwarded.REJECT:
            return {"outcome": "400 escaped_slash: the path has an escaped slash"}
        if verdict != forwarded.GO_ON:
            return {"outcome": f"307 redirect to {path.decode('latin-1')}"}
        if path == head.path:
            return {}
        head.path = path
        return {"normal_path": path.decode("latin-1")}
