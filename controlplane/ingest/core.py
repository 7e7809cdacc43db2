"""Nodes, Pods, Services and EndpointSlices, read into nouns.

In: a cursor on one object. Out: its noun, or None where the mesh has no use for it (UDP-only Services, slices of no Service).
Refuses shapes the API server would not let in, with UnreadableError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.ingest.protocols import protocol_of
from controlplane.ingest.reading import Cursor, canonical_ip, port_list
from controlplane.model.meta import Key
from controlplane.model.owners import workload_of
from controlplane.model.services import EndpointSlice, Service, ServicePort, SliceEndpoint
from controlplane.model.workloads import ENDED, ContainerPort, Node, Pod
from meshapi import names

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


def read_node(raw: Cursor) -> Node:
    """Read a Node for its zone."""
    metadata = raw.at("metadata")
    return Node(name=metadata.text("name"), zone=metadata.texts("labels").get(_ZONE, ""))


def read_pod(raw: Cursor) -> Pod:
    """Read a Pod; one that shares its node's address or has ended has no address here."""
    metadata, spec, status = raw.at("metadata"), raw.at("spec"), raw.at("status")
    labels, annotations = metadata.texts("labels"), metadata.texts("annotations")
    kind, workload = _workload(metadata, labels)
    own_address = not spec.flag("hostNetwork", default=False) and status.text("phase") not in ENDED
    return Pod(
        key=key_of(raw),
        ips=_pod_ips(status) if own_address else (),
        account=spec.text("serviceAccountName") or "default",
        node=spec.text("nodeName"),
        # The label, or the sidecar itself: a copy of a pod may have lost its labels, and its sidecar asks all the same.
        mesh=own_address and (labels.get(names.MESH_LABEL) == names.ENABLED or _has_sidecar(spec)),
        workload_kind=kind,
        workload=workload,
        app=labels.get("app.kubernetes.io/name") or labels.get("app", ""),
        version=labels.get("app.kubernetes.io/version") or labels.get("version", ""),
        ports=_container_ports(spec),
        opaque=port_list(annotations.get(names.OPAQUE_PORTS, "")),
        excluded=port_list(annotations.get(names.EXCLUDE_INBOUND_PORTS, "")),
        created=metadata.text("creationTimestamp"),
    )


def _has_sidecar(spec: Cursor) -> bool:
    return any(
        container.text("name") == names.PROXY_CONTAINER
        for field in ("initContainers", "containers")
        for container in spec.items(field)
    )


def _pod_ips(status: Cursor) -> tuple[str, ...]:
    listed = [one.text("ip") for one in status.items("podIPs")] or [status.text("podIP")]
    return tuple(ip for ip in map(canonical_ip, listed) if ip)


def _container_ports(spec: Cursor) -> tuple[ContainerPort, ...]:
    ports = {
        port.number("containerPort"): port.text("name")
        for container in spec.items("containers")
        if container.text("name") != names.PROXY_CONTAINER
        for port in container.items("ports")
        if port.text("protocol", "TCP") == "TCP" and 0 < port.number("containerPort") < 65536
    }
    return tuple(ContainerPort(port=number, name=name) for number, name in sorted(ports.items()))


def _workload(metadata: Cursor, labels: dict[str, str]) -> tuple[str, str]:
    owners = [
        {"kind": one.text("kind"), "name": one.text("name"), "controller": one.flag("controller", default=False)}
        for one in metadata.items("ownerReferences")
    ]
    return workload_of(owners, labels, metadata.text("name"))


def read_service(raw: Cursor) -> Service | None:
    """Read a Service's addresses and TCP ports."""
    spec = raw.at("spec")
    opaque = port_list(raw.at("metadata").texts("annotations").get(names.OPAQUE_PORTS, ""))
    external = spec.text("type") == "ExternalName"
    ports = tuple(
        ServicePort(
            port=number,
            name=port.text("name"),
            protocol=protocol_of(port.text("appProtocol"), port.text("name"), number, opaque),
        )
        for port in spec.items("ports")
        if port.text("protocol", "TCP") == "TCP" and (number := port.port("port"))
    )
    listed = spec.words("clusterIPs") or (spec.text("clusterIP"),)
    ips = () if external else tuple(ip for ip in map(canonical_ip, listed) if ip)
    affinity = spec.text("sessionAffinity", "None")
    return Service(
        key=key_of(raw),
        ips=ips,
        others=_others(raw, ips) if ips else (),
        external=external,
        local=spec.text("internalTrafficPolicy") == "Local",
        ports=ports,
        unsupported="" if affinity == "None" else _AFFINITY.format(affinity),
    )


def _others(raw: Cursor, ips: tuple[str, ...]) -> tuple[str, ...]:
    """Read where kube-proxy, too, takes connections to a Service: external IPs, and a load balancer's unless it must be passed (ipMode Proxy)."""
    ingress = raw.at("status").at("loadBalancer").items("ingress")
    balanced = (one.text("ip") for one in ingress if one.text("ipMode", "VIP") == "VIP")
    found = map(canonical_ip, (*raw.at("spec").words("externalIPs"), *balanced))
    return tuple(dict.fromkeys(ip for ip in found if ip and ip not in ips))


def read_slice(raw: Cursor, before: object = None, last: EndpointSlice | None = None) -> EndpointSlice | None:
    """Read an EndpointSlice; one of no Service, or of names instead of addresses, is of no use.

    Of the raw object it was read from before, and what that was read as, endpoints that are the same are taken over: of a hundred one flips.
    """
    key = key_of(raw)
    service = raw.at("metadata").texts("labels").get(_SLICE_SERVICE, "")
    if not service or raw.text("addressType", "IPv4") not in {"IPv4", "IPv6"}:
        return None
    ports = tuple(
        (port.text("name"), port.port("port")) for port in raw.items("ports") if port.text("protocol", "TCP") == "TCP"
    )
    known = _known(before, last, key)
    endpoints = (known(one) or _endpoint(one, key.namespace) for one in raw.items("endpoints"))
    return EndpointSlice(
        key=key,
        service=Key(key.namespace, service),
        ports=ports,
        endpoints=tuple(one for one in endpoints if one is not None),
    )


def _known(before: object, last: EndpointSlice | None, key: Key) -> Callable[[Cursor], SliceEndpoint | None]:
    """Look up an endpoint by its raw form among those that were read before."""
    listed = before.get("endpoints") if isinstance(before, Mapping) else None
    if last is None or last.key != key or not isinstance(listed, list) or len(listed) != len(last.endpoints):
        return lambda _: None
    by_address = {str(raw["addresses"]): (raw, read) for raw, read in zip(listed, last.endpoints, strict=True)}

    def known(one: Cursor) -> SliceEndpoint | None:
        addresses = one.value.get("addresses") if isinstance(one.value, Mapping) else None
        raw, read = by_address.get(str(addresses), (None, None))
        return read if raw == one.value else None

    return known


def _endpoint(raw: Cursor, namespace: str) -> SliceEndpoint | None:
    """Read one endpoint. Kubernetes says to use the first address only; unset `ready` and `serving` count as true."""
    addresses = raw.words("addresses")
    address = canonical_ip(addresses[0]) if addresses else ""
    if not address:
        return None
    conditions, target = raw.at("conditions"), raw.at("targetRef")
    ready = conditions.flag("ready", default=True)
    is_pod = target.text("kind") == "Pod"
    return SliceEndpoint(
        address=address,
        ready=ready,
        serving=conditions.flag("serving", default=ready),
        terminating=conditions.flag("terminating", default=False),
        pod=Key(target.text("namespace") or namespace, target.text("name")) if is_pod else None,
        node=raw.text("nodeName"),
        zone=raw.text("zone"),
        for_zones=_hinted(raw, "forZones"),
        for_nodes=_hinted(raw, "forNodes"),
    )


def _hinted(raw: Cursor, kind: str) -> tuple[str, ...]:
    return tuple(one.text("name") for one in raw.at("hints").items(kind))
