"""The beginning of a request's body, brought together for the stages that want to see it before a server does.

In: a request held back, the stages of its route. Out: each is asked once, with no more than the bytes it wants; then the request goes
on, or is answered. No more is read than the one that wants most; without such a stage there is none of this, and bodies pass as they come.
"""

from __future__ import annotations

from typing import Any

from dataplane.proxy.request.asking import Asking
from dataplane.proxy.stages.face import CONTINUE, WAIT, Stage


class Gathering:
    """Of one request."""

    __slots__ = ("_asking", "_full", "_left", "_most")

    def __init__(self, asking: Asking, stages: tuple[Stage, ...]) -> None:
        self._asking = asking
        self._left = list(stages)
        """Those that have not been asked."""
        self._most = max(stage.body_bytes for stage in stages)
        self._full = False

    def enough(self) -> bool:
        """Whether all is here that is wanted; else the client is to send on."""
        asking = self._asking
        size = asking.kept.size if asking.kept is not None else 0
        if not self._full and (asking.ended or size >= self._most):
            self._full = True
            return True
        if not self._full:
            asking.invite()
        return False

    def ask(self, exchange: Any) -> tuple[int, Stage | None]:
        """Ask the next stages, up to one that does not let the request go on: what it says, and which it is."""
        asking = self._asking
        pieces = asking.kept.first(self._most) if asking.kept is not None else b""
        while self._left:
            stage = self._left.pop(0)
            whole = asking.ended and asking.size <= stage.body_bytes
            answer = stage.on_body(exchange, pieces[: stage.body_bytes], whole)
            if answer != CONTINUE:
                return answer, stage if answer == WAIT else None
        return CONTINUE, None
