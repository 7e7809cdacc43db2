"""The faces stages have, for requests and for connections; what one does not need it leaves out.

A stage of requests is made once a route or connection, one of connections once a connection; none keeps anything of a request. What
they count are events of their own, by names that begin with what the stage is called.
"""

from __future__ import annotations

from typing import Any, Final

from dataplane.net.stream import Stream
from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.conditions import Facts
from dataplane.tables.listeners import ChainTable
from meshapi.records import record

CONTINUE: Final = 0
ANSWERED: Final = 1
WAIT: Final = 2


@record(kw_only=False)
class Case:
    """A request somebody only asks about."""

    head: RequestHead
    facts: Facts
    """Of the connection it would come on."""
    chain: ChainTable


class Stage:
    """One thing done to requests."""

    __slots__ = ("answers", "body_bytes")

    def __init__(self, answers: bool = False, body_bytes: int = 0) -> None:
        self.answers = answers
        """Whether it wants to see the answer."""
        self.body_bytes = body_bytes
        """How much of a request's body it wants to see before a server does; 0 is nothing, and bodies pass as they come."""

    def on_request(self, exchange: Any) -> int:  # noqa: ARG002 - the face of all
        """Look at a request, change it, answer it, or have it wait."""
        return CONTINUE

    def on_body(self, exchange: Any, data: bytes, whole: bool) -> int:  # noqa: ARG002 - the face of all
        """Look at the first `body_bytes` of a body, or at all of it where that is less (`whole`); answer it, or have it wait."""
        return CONTINUE

    def on_response(self, exchange: Any, headers: Headers) -> None:
        """Change the fields of an answer, the server's or one a stage gave."""

    def cancelled(self, exchange: Any) -> None:
        """The request ended while it waited for this stage: `resume()` must not come any more."""

    def explain(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say what would be done with a request, for people; an `outcome` is its end."""
        return {}


class ConnectionStage:
    """One thing asked of a connection when it is known who its peer is, and before anybody speaks to it."""

    __slots__ = ()

    word = ""
    """What a refusal is counted as."""

    def on_connection(self, runtime: Runtime, stream: Stream) -> str:  # noqa: ARG002 - the face of all
        """Let it in (nothing), or say why not; either is counted. Closing it is the caller's."""
        return ""

    def bars(self, stream: Stream) -> bool:  # noqa: ARG002 - the face of all
        """Tell whether it would be refused."""
        return False

    def explain(self, facts: Facts) -> dict[str, Any]:  # noqa: ARG002 - the face of all
        """Say what would be done with a connection; an `outcome` is its end."""
        return {}
