"""Model to snapshot: the passes, in order.

In: a model, and the snapshot made before it. Out: a `MeshSnapshot`, in which everything that did not change is the very same object as
before. Pure and total: any model compiles, and a fault in one key leaves its last form and is told of in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, cast

from controlplane.compiler.attach import PRODUCER, attach
from controlplane.compiler.conditions import route_statuses
from controlplane.compiler.memo import Memo
from controlplane.compiler.policies import compile_policies, policy_statuses
from controlplane.compiler.precedence import backends_of, merge
from controlplane.compiler.reads import differing
from controlplane.compiler.services import Policies, compile_pods, compile_services
from controlplane.compiler.snapshot import (
    MeshSnapshot,
    ParentStatus,
    PodEntry,
    PortKey,
    PortRoutes,
    PortTraffic,
    ServiceEntry,
)
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, RouteKey

T = TypeVar("T")
V = TypeVar("V")
Traffic = Mapping[PortKey, PortTraffic]
Statuses = Mapping[RouteKey, tuple[ParentStatus, ...]]


def compile_mesh(model: Model, previous: MeshSnapshot | None = None, *, roots: bytes = b"") -> MeshSnapshot:
    """Compile a model; `roots` are the certificates (PEM) trusted now."""
    before = previous or MeshSnapshot()
    faults: dict[str, Exception] = dict(model.faults)
    memos = {name: _next(previous, name) for name in ("policies", "services", "pods", "routes")}
    # A pass whose inputs are the ones of before is left out; after a fault none is, since what failed is to be tried again.
    same = _same(model, previous)
    policies = before.policies
    if {"pods", "authentications", "mesh", "trust_domain", *_targeted(model)} <= same:
        memos["policies"].carry()
    else:
        policies = compile_policies(model, memos["policies"])
    services = _services(model, previous, policies, memos["services"], same)
    pods = _pods(model, previous, services, policies, memos["pods"])
    traffic, statuses = _kept(
        faults,
        "routes",
        lambda: _compile_traffic(model, previous, memos["routes"]),
        (before.traffic, before.route_statuses),
    )
    told = before.policy_statuses
    if not {"pods", "authentications", "mesh", "services", "problems", *_targeted(model)} <= same:
        told = _kept(faults, "the status of policies", lambda: policy_statuses(model), told)
    for name, memo in memos.items():
        memo.close()
        faults |= {f"{name} {key}": fault for key, fault in memo.faults.items()}
    return MeshSnapshot(
        trust_domain=model.trust_domain,
        roots=roots,
        mesh=model.mesh,
        services=services,
        service_ips=before.service_ips if "services" in same else _service_ips(services),
        pods=pods,
        pod_ips=before.pod_ips if pods is before.pods else _pod_ips(pods),
        traffic=traffic,
        route_statuses=statuses,
        policy_statuses=told,
        user_problems=model.problems,
        policies=policies,
        model=model,
        memos=memos,
        faults=faults,
    )


_PARTS = ("pods", "nodes", "services", "slices", "authentications", "mesh", "problems", "trust_domain")


def _targeted(model: Model) -> tuple[str, ...]:
    """The part of the model that policies depend on only where one targets a Service."""
    policies = model.authentications.values()
    return ("slices",) if any(target.kind == "Service" for one in policies for target in one.targets) else ()


def _same(model: Model, previous: MeshSnapshot | None) -> set[str]:
    """Which parts of the model are those the snapshot before was compiled from."""
    if previous is None or previous.faults:
        return set()
    return {part for part in _PARTS if getattr(model, part) is getattr(previous.model, part)}


def _services(
    model: Model, previous: MeshSnapshot | None, policies: Policies, memo: Memo[Any, Any], same: set[str]
) -> Mapping[Key, ServiceEntry]:
    """Compile Services: those whose own object, slices, pods or their policies changed and no other; all of them when a node did."""
    if previous is None or not {"nodes", "trust_domain"} <= same:
        return compile_services(model, policies, memo)
    memo.carry()
    old = previous.model
    only = {key for key, _, _ in differing(old.services, model.services)}
    for _, was, now in differing(old.slices, model.slices):
        only |= {one.service for one in (was, now) if one is not None}
    moved = _moved(model, previous, policies)
    if moved:
        only |= {one.service for one in model.slices.values() if any(end.pod in moved for end in one.endpoints)}
    entries = compile_services(model, policies, memo, only)
    return _merged(previous.services, entries, only)


def _pods(
    model: Model,
    previous: MeshSnapshot | None,
    services: Mapping[Key, ServiceEntry],
    policies: Policies,
    memo: Memo[Any, Any],
) -> Mapping[Key, PodEntry]:
    """Compile mesh pods: those that changed, whose policy did, or that serve other ports than before."""
    if previous is None or previous.faults or model.trust_domain != previous.trust_domain:
        return compile_pods(model, services, policies, memo)
    memo.carry()
    only = _moved(model, previous, policies)
    for _, was, now in differing(previous.services, services):
        only |= {pod for pod, _, _ in {*(was.backing if was else ())} ^ {*(now.backing if now else ())}}
    return _merged(previous.pods, compile_pods(model, services, policies, memo, only) if only else {}, only)


def _moved(model: Model, previous: MeshSnapshot, policies: Policies) -> set[Key]:
    """Pods that changed, or whose policy did."""
    pods = {key for key, _, _ in differing(previous.model.pods, model.pods)}
    return pods | {key for key, _, _ in differing(previous.policies, policies)}


def _merged(before: Mapping[Key, V], made: Mapping[Key, V], only: Collection[Key]) -> Mapping[Key, V]:
    """Put what was made into what there was; the very same where nothing differs."""
    if all(made.get(key) is before.get(key) for key in only):
        return before
    return {**{key: value for key, value in before.items() if key not in only}, **made}


def _service_ips(services: Mapping[Key, ServiceEntry]) -> dict[str, Key]:
    return _owners((key, entry.service.ips, "") for key, entry in services.items())


def _pod_ips(pods: Mapping[Key, PodEntry]) -> dict[str, Key]:
    return _owners((key, entry.pod.ips, entry.pod.created) for key, entry in pods.items())


def _owners(claims: Iterable[tuple[Key, tuple[str, ...], str]]) -> dict[str, Key]:
    """Whose each address is: where one was reused while its former owner is still to be seen, the newer one's, in whatever order they came."""
    owners: dict[str, tuple[str, Key]] = {}
    for key, ips, created in claims:
        for ip in ips:
            owners[ip] = max(owners.get(ip, ("", key)), (created, key))
    return {ip: key for ip, (_, key) in owners.items()}


def _next(previous: MeshSnapshot | None, name: str) -> Memo[Any, Any]:
    return Memo(cast("Memo[Any, Any] | None", previous.memos.get(name) if previous else None))


def _kept(faults: dict[str, Exception], what: str, make: Callable[[], T], last: T) -> T:
    """Make what has no keys of its own; after a fault the last one stays."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the supervisor of one pass
        faults[what] = error
        return last


def _compile_traffic(model: Model, previous: MeshSnapshot | None, memo: Memo[Any, Any]) -> tuple[Traffic, Statuses]:
    if (
        previous
        and not previous.faults
        and model.routes is previous.model.routes
        and model.services is previous.model.services
    ):
        # Endpoints and pods come and go all the time and no route depends on them.
        memo.entries.update(cast("Memo[Any, Any]", previous.memos["routes"]).entries)
        return previous.traffic, previous.route_statuses
    attachments = attach(model.routes, model.services)
    producers: dict[PortKey, PortRoutes] = {}
    consumers: dict[PortKey, dict[str, PortRoutes]] = {}
    for (port, client), routes in attachments.routes.items():
        backends = [model.services.get(backend.key) for route in routes for backend in backends_of(route)]
        merged: PortRoutes | None = memo.get(
            (port, client),
            (*routes, *backends),
            lambda r=routes: merge(r[0].key.kind, r, model.services),  # type: ignore[misc]
        )
        if merged is None:
            continue
        if client == PRODUCER:
            producers[port] = merged
        else:
            consumers.setdefault(port, {})[client] = merged
    traffic = {
        port: PortTraffic(producer=producers.get(port), consumers=consumers.get(port, {}))
        for port in producers.keys() | consumers.keys()
    }
    return traffic, route_statuses(model.routes, attachments, model.services)
