"""Which stages a connection's requests and a route's go through, in the one order that is declared here.

In: a chain, a compiled route. Out: tuples of stages, compiled when first asked for and kept with the route; what they say of
themselves to people.
"""

from __future__ import annotations

from typing import Any, Final

from dataplane.proxy.stages import answer, authorization, edits, paths, rewrite
from dataplane.proxy.stages.face import Stage
from dataplane.tables.listeners import ChainTable
from dataplane.tables.routes import RouteRow

_AUTHORIZATION: Final = authorization.Authorization()
ROUTE_ORDER: Final = (answer.of, rewrite.of, edits.of)
"""Each makes its stage of a route, or None where the route asks nothing of it."""


def before_match(chain: ChainTable, guarded: bool) -> tuple[Stage, ...]:
    """Return the stages of a connection's requests that come before any route."""
    first = (paths.Paths(chain.paths),) if chain.paths is not None else ()
    return (*first, _AUTHORIZATION) if guarded else first


def stages_of(row: RouteRow) -> tuple[Stage, ...]:
    """Return the stages of a route, compiled when it is first taken."""
    stages: tuple[Stage, ...] | None = row.stages
    if stages is None:
        stages = row.stages = tuple(stage for make in ROUTE_ORDER if (stage := make(row)) is not None)
        row.answering = tuple(stage for stage in stages if stage.answers)
    return stages


def explained(row: RouteRow, head: Any) -> dict[str, Any]:
    """Say in the stages' own words what they would do with a request, up to the one that answers it."""
    said: dict[str, Any] = {}
    for stage in stages_of(row):
        said |= stage.explain(head)
        if "outcome" in said:
            break
    return said
