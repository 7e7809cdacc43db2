"""Nodes, Pods, Services and EndpointSlices, read into nouns.

In: one object as the store keeps it. Out: its noun, or None where the mesh has no use for it (UDP-only Services, slices of no Service).
Refuses numbers the API server would not let in, with UnreadableError.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.feed import shapes
from controlplane.feed.remembering import remembered
from controlplane.ingest.protocols import protocol_of
from controlplane.ingest.reading import Cursor, a_port, canonical_ip, port_list
from controlplane.model.meta import Key
from controlplane.model.owners import workload_of
from controlplane.model.services import EndpointSlice, Service, ServicePort, SliceEndpoint
from controlplane.model.workloads import ENDED, ContainerPort, Node, Pod, has_sidecar
from meshapi import names

_TCP = "TCP"
_ZONE = "topology.kubernetes.io/zone"
_SLICE_SERVICE = "kubernetes.io/service-name"
_AFFINITY = (
    "sessionAffinity {} is not carried out by sidecars, which spread the requests of one caller over all endpoints;"
    " have the app find its session by a cookie or header of its own"
)


def key_of(raw: Cursor) -> Key:
    """Read namespace and name off the metadata."""
    metadata = raw.at("metadata")
    return Key(metadata.text("namespace"), metadata.text("name"))


def read_node(raw: shapes.Node) -> Node:
    """Read a Node for its zone."""
    return Node(name=raw.metadata.name, zone=(raw.metadata.labels or {}).get(_ZONE, ""))


def read_pod(raw: shapes.Pod) -> Pod:
    """Read a Pod; one that shares its node's address or has ended has no address here."""
    metadata, spec, status = raw.metadata, raw.spec or _NO_SPEC, raw.status or _NO_STATUS
    labels, annotations = metadata.labels or {}, metadata.annotations or {}
    kind, workload = workload_of(metadata.owner_references or (), labels, metadata.name)
    own_address = not spec.host_network and status.phase not in ENDED
    return Pod(
        key=_key(metadata),
        ips=_pod_ips(status) if own_address else (),
        account=spec.service_account_name or "default",
        node=spec.node_name or "",
        # The label, or the sidecar itself: a copy of a pod may have lost its labels, and its sidecar asks all the same.
        mesh=own_address and (labels.get(names.MESH_LABEL) == names.ENABLED or has_sidecar(raw)),
        workload_kind=kind,
        workload=workload,
        app=labels.get("app.kubernetes.io/name") or labels.get("app", ""),
        version=labels.get("app.kubernetes.io/version") or labels.get("version", ""),
        ports=_container_ports(spec.containers) if spec.containers else (),
        opaque=port_list(annotations.get(names.OPAQUE_PORTS, "")),
        excluded=port_list(annotations.get(names.EXCLUDE_INBOUND_PORTS, "")),
        created=metadata.creation_timestamp or "",
    )


_NO_SPEC, _NO_STATUS = shapes.PodSpec(), shapes.PodStatus()


def _key(metadata: shapes.Meta) -> Key:
    return Key(metadata.namespace or "", metadata.name)


def _pod_ips(status: shapes.PodStatus) -> tuple[str, ...]:
    listed = [one.ip for one in status.pod_ips or ()] or [status.pod_ip or ""]
    return tuple(ip for ip in map(canonical_ip, listed) if ip)


@remembered
def _container_ports(containers: tuple[shapes.Container, ...]) -> tuple[ContainerPort, ...]:
    """Read what containers declare; replicas say the same."""
    ports = {
        port.container_port: port.name or ""
        for container in containers
        if container.name != names.PROXY_CONTAINER
        for port in container.ports or ()
        if (port.protocol or _TCP) == _TCP and 0 < port.container_port < 65536
    }
    return tuple(ContainerPort(port=number, name=name) for number, name in sorted(ports.items()))


def read_service(raw: shapes.Service) -> Service | None:
    """Read a Service's addresses and TCP ports."""
    spec = raw.spec or shapes.ServiceSpec()
    opaque = port_list((raw.metadata.annotations or {}).get(names.OPAQUE_PORTS, ""))
    external = spec.type == "ExternalName"
    ports = tuple(
        ServicePort(
            port=port.port,
            name=port.name or "",
            protocol=protocol_of(port.app_protocol or "", port.name or "", port.port, opaque),
        )
        for number, port in enumerate(spec.ports or ())
        if (port.protocol or _TCP) == _TCP and a_port(port.port, f"spec.ports[{number}].port")
    )
    listed = spec.cluster_ips or (spec.cluster_ip or "",)
    ips = () if external else tuple(ip for ip in map(canonical_ip, listed) if ip)
    affinity = spec.session_affinity or "None"
    return Service(
        key=_key(raw.metadata),
        ips=ips,
        others=_others(raw, ips) if ips else (),
        external=external,
        local=spec.internal_traffic_policy == "Local",
        ports=ports,
        unsupported="" if affinity == "None" else _AFFINITY.format(affinity),
    )


def _others(raw: shapes.Service, ips: tuple[str, ...]) -> tuple[str, ...]:
    """Read where kube-proxy, too, takes connections to a Service: external IPs, and a load balancer's unless it must be passed (ipMode Proxy)."""
    balancer = raw.status.load_balancer if raw.status else None
    ingress = (balancer.ingress if balancer else None) or ()
    balanced = (one.ip or "" for one in ingress if (one.ip_mode or "VIP") == "VIP")
    external = (raw.spec.external_ips if raw.spec else None) or ()
    found = map(canonical_ip, (*external, *balanced))
    return tuple(dict.fromkeys(ip for ip in found if ip and ip not in ips))


def read_slice(
    raw: shapes.EndpointSlice, before: shapes.EndpointSlice | None = None, last: EndpointSlice | None = None
) -> EndpointSlice | None:
    """Read an EndpointSlice; one of no Service, or of names instead of addresses, is of no use.

    Of the raw object it was read from before, and what that was read as, endpoints that are the same are taken over: of a hundred one flips.
    """
    key = _key(raw.metadata)
    service = (raw.metadata.labels or {}).get(_SLICE_SERVICE, "")
    if not service or (raw.address_type or "IPv4") not in {"IPv4", "IPv6"}:
        return None
    known = _known(before, last, key)
    endpoints = (known.get(id(one)) or _endpoint(one, key.namespace) for one in raw.endpoints or ())
    return EndpointSlice(
        key=key,
        service=Key(key.namespace, service),
        ports=tuple(
            (port.name or "", a_port(port.port or 0, f"ports[{number}].port"))
            for number, port in enumerate(raw.ports or ())
            if (port.protocol or _TCP) == _TCP
        ),
        endpoints=tuple(one for one in endpoints if one is not None),
    )


def _known(before: shapes.EndpointSlice | None, last: EndpointSlice | None, key: Key) -> Mapping[int, SliceEndpoint]:
    """Endpoints that were read before, by the identity of what they were read from: equal ones are the same record."""
    listed = (before.endpoints if before else None) or ()
    if last is None or last.key != key or len(listed) != len(last.endpoints):
        return {}
    return dict(zip(map(id, listed), last.endpoints, strict=True))


def _endpoint(raw: shapes.Endpoint, namespace: str) -> SliceEndpoint | None:
    """Read one endpoint. Kubernetes says to use the first address only; unset `ready` and `serving` count as true."""
    address = canonical_ip(raw.addresses[0]) if raw.addresses else ""
    if not address:
        return None
    conditions, target, hints = raw.conditions or _NO_CONDITIONS, raw.target_ref, raw.hints
    ready = conditions.ready is not False
    return SliceEndpoint(
        address=address,
        ready=ready,
        serving=ready if conditions.serving is None else conditions.serving,
        terminating=bool(conditions.terminating),
        pod=Key(target.namespace or namespace, target.name or "") if target and target.kind == "Pod" else None,
        node=raw.node_name or "",
        zone=raw.zone or "",
        for_zones=_hinted(hints.for_zones) if hints else (),
        for_nodes=_hinted(hints.for_nodes) if hints else (),
    )


_NO_CONDITIONS = shapes.Ready()


def _hinted(hints: tuple[shapes.Hint, ...] | None) -> tuple[str, ...]:
    return tuple(one.name for one in hints or ())
