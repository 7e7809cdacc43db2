"""The form of a path before it is matched, as the connection manager wants it (`tables/forwarded`): normal, or not at all."""

from __future__ import annotations

from typing import Any

from dataplane.config import PathRule
from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, Stage
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
        if verdict == forwarded.REJECT or exchange.grpc:
            exchange.refuse(errors.ESCAPED_SLASH)
        else:
            where = b"%s://%s%s" % (head.scheme, head.authority, path)
            exchange.answer(307, [(b"location", where, b"location"), (b"content-length", b"0", b"content-length")], b"")
        return ANSWERED
