"""What would be done with a request, for people who ask: the same tables, read step by step.

In: a `Question` (where an app would connect and what it would say there). Out: a plain dict, listener by listener as
the hot path would decide, with a sentence in `outcome`. Sends nothing and changes nothing.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import Cluster
from dataplane.protocol.events import RequestHead
from dataplane.proxy.stages.face import Case
from dataplane.proxy.stages.order import before_match, explained, explained_connection, of_upgrades, stages_of
from dataplane.tables.compile import Tables
from dataplane.tables.conditions import Facts
from dataplane.tables.endpoints import AS_DOWNSTREAM, HTTP1, ClusterTable, EndpointSlot
from dataplane.tables.listeners import ChainTable, ListenerTable, describe
from dataplane.tables.routes import RouteIndex, RouteRow, TargetRow
from dataplane.telemetry.metrics import Counter
from meshapi.records import record

_SHOWN = 50
"""Endpoints told; the rest is counted."""


@record
class Question:
    """A request as an app would make it."""

    host: str = ""
    """What stands in `Host`."""
    address: str = ""
    """`ip:port` the app would connect to; empty looks for a destination of that name."""
    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case name and value."""
    identity: str = ""
    """The SPIFFE URI of who asks; empty for plaintext."""
    source: str = ""
    """The address of who asks."""


def explain(tables: Tables, question: Question, now: float = 0.0) -> dict[str, Any]:
    """Answer a question; `now` is the clock of `tables.health`."""
    listener = _listener(tables, question)
    if listener is None:
        where = question.address or question.host
        known = sorted(name.removeprefix("outbound/") for name in tables.listeners if name.startswith("outbound/"))
        return {
            "outcome": f"{where} is not known to this sidecar (yet): the first connection asks the control plane, and "
            "a destination outside the mesh passes through untouched",
            "known_destinations": known,
        }
    answer: dict[str, Any] = {
        "listener": listener.name,
        **{k: v for k, v in listener.noun.metadata if isinstance(v, str)},
    }
    chain = _chain(listener)
    if chain is None:
        return answer | {"outcome": "no filter chain takes such a connection: it is closed"}
    answer["chain"] = {"name": chain.name, "for": describe(chain.noun.match)}
    facts = _facts(listener, question)
    answer |= explained_connection(chain, facts)
    if "outcome" in answer:
        return answer
    if not chain.http:
        targets = _targets(tables, chain.targets, now)
        return answer | {"targets": targets, "outcome": "the bytes are relayed without looking at them"}
    case = Case(_head(question), facts, chain)
    guard = chain.authorization.bind(facts) if chain.authorization is not None else None
    answer |= explained(before_match(chain, guard, Counter()), case)
    if "outcome" in answer:
        return answer
    return answer | _routed(tables, case, now)


def _facts(listener: ListenerTable, question: Question) -> Facts:
    host, _, port = question.address.rpartition(":")
    destination = (host.strip("[]"), int(port)) if port.isdigit() else (listener.noun.address, listener.noun.port)
    return Facts(question.source, destination, question.identity)


def _head(question: Question) -> RequestHead:
    said = [(name.lower().encode(), value.encode(), name.encode()) for name, value in question.headers]
    head = RequestHead(0, question.method.encode(), b"http", question.host.encode(), question.path.encode(), said, True)
    head.protocol = b"".join(value for name, value, _ in said if name == b"upgrade")
    return head


def _listener(tables: Tables, question: Question) -> ListenerTable | None:
    """The listener of the address; else the one whose service the host names."""
    if question.address:
        found = tables.listeners.get(f"outbound/{question.address}")
        if found is not None:
            return found
    host, _, port = question.host.partition(":")
    parts = host.split(".")
    for table in tables.listeners.values():
        facts = dict(table.noun.metadata)
        if facts.get("service") != parts[0] or (len(parts) > 1 and facts.get("namespace") != parts[1]):
            continue
        if not port or str(facts.get("port", "")) == port:
            return table
    bound = [table for table in tables.listeners.values() if table.noun.bind and not table.noun.inbound]
    return bound[0] if len(bound) == 1 and not question.address else None


def _chain(listener: ListenerTable) -> ChainTable | None:
    """The chain an HTTP request takes, else the one a plain connection takes."""
    for alpn in ({"http/1.1"}, {"h2c"}, set[str]()):
        chain = listener.match(listener.noun.port, "raw_buffer", alpn, "")
        if chain is not None and (chain.http or not alpn):
            return chain
    return listener.match(listener.noun.port, "tls", set(), "")


def _routed(tables: Tables, case: Case, now: float) -> dict[str, Any]:
    chain, head = case.chain, case.head
    routes: RouteIndex | None = chain.routes if chain.routes is not None else tables.routes.get(chain.route_name)
    if routes is None:
        why = tables.config.refused_routes.get(chain.route_name)
        if why is not None:
            return {"outcome": f"503 refused_configuration: {why}"}
        return {"outcome": f"503 route_table_missing: the routes {chain.route_name} have not arrived yet"}
    row = routes.match(head)
    if row is None:
        return {"routes": routes.name, "outcome": "404 route_not_found: no route matches"}
    name, _, rule = row.name.partition("#")
    answer: dict[str, Any] = {"routes": routes.name, "route": name or "(default)", "rule": rule}
    said = explained(of_upgrades(row) if head.protocol else stages_of(row), case)
    if "outcome" in said:
        return answer | said
    return answer | _forwarded(tables, row, said, now)


def _forwarded(tables: Tables, row: RouteRow, said: dict[str, Any], now: float) -> dict[str, Any]:
    targets = _targets(tables, row.targets, now)
    answer: dict[str, Any] = {"targets": targets, "timeout_seconds": row.timeout or None, **said}
    if row.mirrors:
        answer["mirrors"] = [{"cluster": name, "share": share} for name, share in row.mirrors]
    if row.retry is not None:
        answer["retries"] = {"attempts": row.retry.attempts, "on": sorted(row.retry.on)}
    ready = [target for target in targets if target["endpoints"] or target.get("original_destination")]
    if not targets:
        return answer | {"outcome": "500 backend_not_found: no backend of the rule has weight"}
    if not ready:
        return answer | {"outcome": "503 no_healthy_upstream: none of the backends has a ready endpoint"}
    return answer | {"outcome": "forwarded to " + ", ".join(f"{t['cluster']} ({t['share']:.0%})" for t in targets)}


def _targets(tables: Tables, rows: list[TargetRow], now: float) -> list[dict[str, Any]]:
    total = sum(row.weight for row in rows)
    told = []
    for row in rows:
        share = row.weight / total if total else 0.0
        cluster = tables.clusters.get(row.cluster)
        target: dict[str, Any] = {
            "cluster": row.cluster,
            "weight": row.weight,
            "share": round(share, 4),
            "endpoints": [],
        }
        if cluster is None:
            why = tables.config.refused_clusters.get(row.cluster)
            target["problem"] = f"refused: {why}" if why else "the backend does not exist (or has not arrived)"
        elif cluster.original:
            target["original_destination"] = True
        else:
            target["endpoints"] = [_endpoint(cluster, slot, now) for slot in cluster.slots[:_SHOWN]]
            target["more_endpoints"] = max(0, len(cluster.slots) - _SHOWN)
        told.append(target)
    return told


def _endpoint(cluster: ClusterTable, slot: EndpointSlot, now: float) -> dict[str, Any]:
    spoken = "http/2" if slot.mesh or cluster.protocol not in {HTTP1, AS_DOWNSTREAM} else _plain(cluster)
    health = slot.health.describe(now)
    if health and not cluster.passes_over(slot):
        health = f"would be {health}, but too many fail: it takes its turns"
    shown = {
        "address": f"{slot.address}:{slot.port}",
        "mesh_tls": slot.mesh,
        "identity": slot.identity,
        "protocol": spoken,
        "pod": slot.labels.get("pod", ""),
        "workload": slot.labels.get("workload", ""),
        "zone": slot.zone,
        "weight": slot.weight,
        "active_requests": slot.active,
        "health": health,
    }
    return {key: value for key, value in shown.items() if value not in {"", None}}


def _plain(cluster: ClusterTable) -> str:
    noun: Cluster = cluster.noun
    return noun.protocol.value
