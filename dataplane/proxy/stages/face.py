"""The face every stage has; what it does not need it leaves out.

A stage is made once a route (or once for all) and keeps nothing of a request. What it counts are `events` of its own.
"""

from __future__ import annotations

from typing import Any, Final

from dataplane.protocol.events import Headers, RequestHead

CONTINUE: Final = 0
ANSWERED: Final = 1
WAIT: Final = 2


class Stage:
    """One thing done to requests."""

    __slots__ = ("answers",)

    def __init__(self, answers: bool = False) -> None:
        self.answers = answers
        """Whether it wants to see the answer."""

    def on_request(self, exchange: Any) -> int:  # noqa: ARG002 - the face of all
        """Look at a request, change it, answer it, or have it wait."""
        return CONTINUE

    def on_response(self, exchange: Any, headers: Headers) -> None:
        """Change the fields of an answer, the server's or one a stage gave."""

    def cancelled(self, exchange: Any) -> None:
        """The request ended while it waited for this stage: `resume()` must not come any more."""

    def explain(self, head: RequestHead) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say what would be done with a request, for people; an `outcome` is its end."""
        return {}
