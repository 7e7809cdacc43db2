"""Which stages a connection, its requests and a route's go through, in the one order that is declared here.

In: a chain, a compiled route. Out: tuples of stages, those of a route compiled when first asked for and kept with it; what they say
of themselves to people.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from dataplane.net.stream import Stream
from dataplane.proxy.stages import admission, answer, authorization, edits, paths, rewrite, upgrades
from dataplane.proxy.stages.face import Case, ConnectionStage, Stage
from dataplane.tables.authz import Guard
from dataplane.tables.conditions import Facts
from dataplane.tables.listeners import ChainTable
from dataplane.tables.routes import RouteRow
from dataplane.telemetry.metrics import Counter

CONNECTION_ORDER: Final = (admission.of,)
"""Each makes its stage of a chain, or None where that asks nothing of connections."""
ROUTE_ORDER: Final = (answer.of, rewrite.of, edits.of)
"""Each makes its stage of a route, or None where the route asks nothing of it."""


def of_connections(chain: ChainTable) -> tuple[ConnectionStage, ...]:
    """Return the stages of a chain's connections."""
    return tuple(stage for make in CONNECTION_ORDER if (stage := make(chain)) is not None)


def bars(chain: ChainTable, stream: Stream) -> bool:
    """Tell whether a connection would be refused, were it to take this chain."""
    return any(stage.bars(stream) for stage in of_connections(chain))


def before_match(chain: ChainTable, guard: Guard | None, admitted: Counter) -> tuple[Stage, ...]:
    """Return the stages of a connection's requests that come before any route; `admitted` counts who gets past the guard."""
    first = (paths.Paths(chain.paths),) if chain.paths is not None else ()
    return first if guard is None else (*first, authorization.Authorizer(guard, admitted))


def stages_of(row: RouteRow) -> tuple[Stage, ...]:
    """Return the stages of a route, compiled when it is first taken."""
    stages: tuple[Stage, ...] | None = row.stages
    if stages is None:
        stages = row.stages = tuple(stage for make in ROUTE_ORDER if (stage := make(row)) is not None)
        row.answering = tuple(stage for stage in stages if stage.answers)
        row.gathering = tuple(stage for stage in stages if stage.body_bytes)
    return stages


def of_upgrades(row: RouteRow) -> tuple[Stage, ...]:
    """Return the stages of requests that would leave HTTP: one more where they are forwarded."""
    stages = stages_of(row)
    return stages if row.redirect is not None or row.direct is not None else (upgrades.Upgrades(row), *stages)


def explained(stages: Iterable[Stage], case: Case) -> dict[str, Any]:
    """Say in the stages' own words what they would do with a request, up to the one that answers it."""
    return _up_to_outcome(stage.explain(case) for stage in stages)


def explained_connection(chain: ChainTable, facts: Facts) -> dict[str, Any]:
    """The same of a connection."""
    return _up_to_outcome(stage.explain(facts) for stage in of_connections(chain))


def _up_to_outcome(words: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put together what is said one after the other; nobody is asked behind an outcome."""
    said: dict[str, Any] = {}
    for those in words:
        said |= those
        if "outcome" in said:
            break
    return said
