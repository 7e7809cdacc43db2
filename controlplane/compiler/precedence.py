"""Routes of one place merged into rows in final order, so that everybody downstream takes the first that matches.

In: the routes that apply, oldest first, and the Services they lead to. Out: `PortRoutes`. Precedence is Gateway API's (HTTPRouteRule and
GRPCRouteRule "Proxy or Load Balancer routing configuration"). A backend that does not resolve keeps its share and
answers 500 (gRPC: UNAVAILABLE); nothing is ever moved to its siblings. Mesh routes need no ReferenceGrant (GEP-1294).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controlplane.compiler.snapshot import Answer, Forward, PortKey, PortRoutes, RouteRow, Target
from controlplane.model.meta import Key
from controlplane.model.services import Service
from controlplane.model.traffic import Backend, Match, Redirect, Route, Rule
from meshapi import xds

Services = Mapping[Key, Service]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """Why a backend leads nowhere."""

    reason: str
    message: str


def resolve(backend: Backend, services: Services) -> str | Unresolved:
    """Find a backend's cluster."""
    if backend.group != "" or backend.kind != "Service":
        message = f"{backend.kind} {backend.key} of group {backend.group!r} cannot be a backend; use a Service"
        return Unresolved(reason="InvalidKind", message=message)
    service = services.get(backend.key)
    if service is None:
        return Unresolved(reason="BackendNotFound", message=f"there is no Service {backend.key}")
    if service.external:
        message = f"Service {backend.key} is an ExternalName, which has no endpoints"
        return Unresolved(reason="InvalidKind", message=message)
    if service.port(backend.port) is None:
        wanted = f"no TCP port {backend.port}" if backend.port else "to be named with a port"
        return Unresolved(reason="BackendNotFound", message=f"Service {backend.key} has {wanted}")
    return PortKey(backend.namespace, backend.name, backend.port).cluster


def backends_of(route: Route) -> Iterator[Backend]:
    """All backends a route names, mirrors too."""
    for rule in route.rules:
        yield from rule.backends
        yield from (mirror.backend for mirror in rule.mirrors)


def merge(kind: str, routes: Iterable[Route], services: Services) -> PortRoutes:
    """Merge the routes of one place."""
    if kind in {"HTTPRoute", "GRPCRoute"}:
        rows = [row for route in routes for row in _rows(route, services)]
        rank = _http_rank if kind == "HTTPRoute" else _grpc_rank
        # Sorting is stable: ties go to the older route, then by name, then to the first rule.
        return PortRoutes(kind=kind, rows=tuple(sorted(rows, key=lambda row: rank(row.match))))
    splits = []
    for route in routes:
        names = tuple(name.lower() for name in route.hostnames) if kind == "TLSRoute" else ()
        splits.append((names, _targets(route.rules[0], services)))
    return PortRoutes(kind=kind, splits=tuple(splits))


def _http_rank(match: Match) -> tuple[int, ...]:
    return (
        -match.path_kind.value,
        -(match.rank[0] if match.rank else len(match.path)),
        -int(bool(match.method)),
        -len(match.headers),
        -len(match.query),
    )


def _grpc_rank(match: Match) -> tuple[int, ...]:
    return (*(-part for part in match.rank), -len(match.headers))


def _rows(route: Route, services: Services) -> Iterator[RouteRow]:
    for number, rule in enumerate(route.rules):
        action = _action(rule, services, grpc=route.key.kind == "GRPCRoute")
        for match in rule.matches:
            yield RouteRow(
                match=match,
                action=action,
                route=route.key,
                rule=number,
                request_headers=rule.request_headers,
                response_headers=rule.response_headers,
            )


def _action(rule: Rule, services: Services, *, grpc: bool) -> Forward | Answer | Redirect:
    failing = 503 if grpc else 500
    if rule.error:
        return Answer(status=failing, why="cannot be carried out, and the route's status says why")
    if rule.redirect:
        return rule.redirect
    targets = _targets(rule, services)
    if not targets:
        return Answer(status=failing, why="has no backend with a weight")
    mirrors = ((resolve(mirror.backend, services), mirror.fraction) for mirror in rule.mirrors)
    return Forward(
        targets=targets,
        timeout=rule.timeout,
        try_timeout=rule.try_timeout,
        retry=rule.retry,
        rewrite=rule.rewrite,
        mirrors=tuple((name, fraction) for name, fraction in mirrors if isinstance(name, str)),
        unresolved_status=failing,
    )


def _targets(rule: Rule, services: Services) -> tuple[Target, ...]:
    """Shares of a rule's traffic; none when no backend has weight."""
    found = []
    for backend in rule.backends if not rule.error else ():
        cluster = resolve(backend, services)
        if backend.weight:
            found.append(
                Target(
                    cluster=cluster if isinstance(cluster, str) else xds.INVALID,
                    weight=backend.weight,
                    request_headers=backend.request_headers,
                    response_headers=backend.response_headers,
                )
            )
    return tuple(found)
