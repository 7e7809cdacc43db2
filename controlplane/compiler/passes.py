"""Model to snapshot: the passes, in order.

In: a model, and the snapshot made before it. Out: a `MeshSnapshot`, in which everything that did not change is the very same object as
before. Pure and total: any model compiles, and a fault in one key leaves its last form and is told of in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from controlplane.compiler.attach import PRODUCER, attach
from controlplane.compiler.memo import Memo
from controlplane.compiler.policies import compile_policies, policy_statuses
from controlplane.compiler.routes import backends_of, merge
from controlplane.compiler.services import compile_pods, compile_services
from controlplane.compiler.snapshot import MeshSnapshot, ParentStatus, PortKey, PortRoutes, PortTraffic
from controlplane.compiler.status import route_statuses
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, RouteKey

T = TypeVar("T")
Traffic = Mapping[PortKey, PortTraffic]
Statuses = Mapping[RouteKey, tuple[ParentStatus, ...]]


def compile_mesh(model: Model, previous: MeshSnapshot | None = None, *, roots: bytes = b"") -> MeshSnapshot:
    """Compile a model; `roots` are the certificates (PEM) trusted now."""
    before = previous or MeshSnapshot()
    faults: dict[str, Exception] = dict(model.faults)
    memos = {name: _next(previous, name) for name in ("policies", "services", "pods", "routes")}
    policies = compile_policies(model, memos["policies"])
    services = compile_services(model, policies, memos["services"])
    pods = compile_pods(model, services, policies, memos["pods"])
    traffic, statuses = _kept(
        faults,
        "routes",
        lambda: _compile_traffic(model, previous, memos["routes"]),
        (before.traffic, before.route_statuses),
    )
    told = _kept(faults, "the status of policies", lambda: policy_statuses(model), before.policy_statuses)
    for name, memo in memos.items():
        memo.close()
        faults |= {f"{name} {key}": fault for key, fault in memo.faults.items()}
    return MeshSnapshot(
        trust_domain=model.trust_domain,
        roots=roots,
        mesh=model.mesh,
        services=services,
        service_ips=_owners((key, entry.service.ips, "") for key, entry in services.items()),
        pods=pods,
        pod_ips=_owners((key, entry.pod.ips, entry.pod.created) for key, entry in pods.items()),
        traffic=traffic,
        route_statuses=statuses,
        policy_statuses=told,
        user_problems=model.problems,
        model=model,
        memos=memos,
        faults=faults,
    )


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
