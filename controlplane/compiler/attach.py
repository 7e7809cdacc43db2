"""Which routes apply to which Service port, and for which clients.

In: a Service, and the routes that name it. Out: for each port and class of clients (the producer's routes for all, or one consumer namespace's own) the routes
that apply, oldest first, and for each route and parent a verdict. Of several kinds on one port and class only one applies (GEP-1294).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.compiler.snapshot import PortKey
from controlplane.model.meta import Key, RouteKey
from controlplane.model.services import Protocol, Service, ServicePort
from controlplane.model.traffic import ROUTE_KINDS, Parent, Route

PRODUCER = ""
"""The class of routes that hold for every client."""

Place = tuple[PortKey, str]
"""A port, and PRODUCER or a consumer namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a parent took a route in."""

    reason: str = "Accepted"
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it did."""
        return self.reason == "Accepted"


@dataclass(slots=True)
class Attachments:
    """Routes by place, verdicts by route and index of its parent."""

    routes: dict[Place, list[Route]] = field(default_factory=dict)
    verdicts: dict[tuple[RouteKey, int], Verdict] = field(default_factory=dict)


def attach(key: Key, service: Service | None, routes: Iterable[Route]) -> Attachments:
    """Decide for one Service, whether it is there or not, and all routes that name it as their parent."""
    result = Attachments()
    claims: dict[Place, dict[str, list[tuple[Route, int]]]] = {}
    for route in sorted(routes, key=lambda one: (one.created, one.key.namespace, one.key.name)):
        for index, parent in enumerate(route.parents):
            if parent.key != key:
                continue
            ports, verdict = _ports(route, parent, service)
            result.verdicts[route.key, index] = verdict
            if not ports:
                continue
            client = PRODUCER if route.key.namespace == parent.namespace else route.key.namespace
            for port in ports:
                place = PortKey(parent.namespace, parent.name, port.port), client
                claims.setdefault(place, {}).setdefault(route.key.kind, []).append((route, index))
    won: dict[tuple[RouteKey, int], list[str]] = {}
    lost: dict[tuple[RouteKey, int], str] = {}
    held: set[tuple[Place, RouteKey]] = set()
    for place, kinds in claims.items():
        for (route, index), winner in _contest(kinds):
            if winner is route:
                won.setdefault((route.key, index), []).append(str(place[0].port))
                if (place, route.key) not in held:
                    held.add((place, route.key))
                    result.routes.setdefault(place, []).append(route)
            else:
                lost.setdefault((route.key, index), f"port {place[0].port} is routed by {winner.key} already")
    _settle(result, won, lost)
    return result


def _settle(
    result: Attachments, won: Mapping[tuple[RouteKey, int], list[str]], lost: Mapping[tuple[RouteKey, int], str]
) -> None:
    """A route is accepted where at least one port took it in."""
    for claim, verdict in result.verdicts.items():
        if verdict.accepted and claim not in won:
            message = f"Not in force: {lost[claim]}, and only one kind of route applies to a port."
            result.verdicts[claim] = Verdict(reason="Conflicted", message=message)
        elif verdict.accepted:
            message = f"In force on port {', '.join(won[claim])}."
            result.verdicts[claim] = Verdict(message=message)


def _contest(kinds: Mapping[str, list[tuple[Route, int]]]) -> Iterator[tuple[tuple[Route, int], Route]]:
    """Pair every claim with the route that prevails over it: itself where it applies."""
    winner = next(kind for kind in ROUTE_KINDS if kind in kinds)
    first = kinds[winner][0][0]
    for kind, claims in kinds.items():
        for claim in claims:
            # Connections have nothing to be told apart by but their port, so of TCPRoutes the oldest alone applies.
            applies = kind == winner and (kind != "TCPRoute" or claim[0] is first)
            yield claim, claim[0] if applies else first


def _ports(route: Route, parent: Parent, service: Service | None) -> tuple[list[ServicePort], Verdict]:
    """Find the ports of a parent a route can apply to."""
    if service is None:
        return [], Verdict(reason="NoMatchingParent", message=f"There is no Service {parent.key}.")
    if not service.ips:
        what = "an ExternalName" if service.external else "headless"
        message = f"Service {parent.key} is {what}: it has no address of its own that traffic could be routed by."
        return [], Verdict(reason="NoMatchingParent", message=message)
    named = [port for port in service.ports if parent.port in {0, port.port} and parent.section in {"", port.name}]
    if not named:
        wanted = (
            f"port {parent.port}" if parent.port else f"port named {parent.section!r}" if parent.section else "TCP port"
        )
        return [], Verdict(reason="NoMatchingParent", message=f"Service {parent.key} has no {wanted}.")
    fitting = [port for port in named if _fits(route.key.kind, port.protocol)]
    if not fitting:
        spoken = ", ".join(f"{port.port} ({port.protocol.value})" for port in named)
        message = f"No {route.key.kind} can apply to what Service {parent.key} declares for its ports: {spoken}."
        return [], Verdict(reason="NoMatchingParent", message=message)
    errors = [rule.error for rule in route.rules if rule.error]
    if len(errors) == len(route.rules):
        # Where patterns were lost it holds nevertheless, with errors: without it, its requests would go where it did not let them go.
        holds = any(rule.lost for rule in route.rules)
        also = " Requests that may be theirs are answered with an error." if holds else ""
        verdict = Verdict(reason="UnsupportedValue", message=f"No rule can be carried out: {errors[0]}.{also}")
        return fitting if holds else [], verdict
    return fitting, Verdict()


def _fits(kind: str, protocol: Protocol) -> bool:
    if kind in {"HTTPRoute", "GRPCRoute"}:
        return protocol.may_be_http
    if kind == "TLSRoute":
        return not protocol.is_http
    return True
