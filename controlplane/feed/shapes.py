"""Which fields of the discovery feed are kept, by kind; everything else is never even decoded into memory.

In: JSON of an object, a list page or a watch line. Out: plain dicts with only these fields, for `ObjectStore`. msgspec decodes into
the structs below at a fraction of the cost of decoding everything, and drops what they do not name. A field `ingest` wants to read
must be named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from meshapi import names

Text = str | None
Texts = dict[str, str] | None


class _Shape(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    pass


class Owner(_Shape):
    """The controller of a Pod, the Service of an EndpointSlice."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(_Shape):
    """Object metadata."""

    name: str = ""
    namespace: Text = None
    uid: Text = None
    resource_version: Text = None
    labels: Texts = None
    annotations: Texts = None
    owner_references: list[Owner] | None = None
    deletion_timestamp: Text = None
    creation_timestamp: Text = None


class Port(_Shape):
    """A port of a container."""

    container_port: int = 0
    name: Text = None
    protocol: Text = None


class Container(_Shape):
    """A container, as far as the network sees it."""

    name: str = ""
    ports: list[Port] | None = None


class Named(_Shape):
    """A container of a pod's start; one of them may be the sidecar."""

    name: str = ""


class PodSpec(_Shape):
    """Where and as whom a pod runs."""

    node_name: Text = None
    service_account_name: Text = None
    host_network: bool | None = None
    containers: list[Container] | None = None
    init_containers: list[Named] | None = None


class PodIP(_Shape):
    """One address of a pod."""

    ip: str = ""


class Condition(_Shape):
    """One condition of a pod."""

    type: str = ""
    status: str = ""


class PodStatus(_Shape):
    """A pod's addresses and state."""

    phase: Text = None
    pod_ip: Text = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = msgspec.field(default=None, name="podIPs")
    conditions: list[Condition] | None = None


class Pod(_Shape):
    """A workload instance."""

    metadata: Meta
    spec: PodSpec | None = None
    status: PodStatus | None = None


class ServicePort(_Shape):
    """A port of a Service."""

    port: int = 0
    name: Text = None
    protocol: Text = None
    app_protocol: Text = None
    target_port: int | str | None = None


class ServiceSpec(_Shape):
    """What a Service promises."""

    type: Text = None
    cluster_ip: Text = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_name: Text = None
    publish_not_ready_addresses: bool | None = None
    selector: Texts = None
    ports: list[ServicePort] | None = None


class Service(_Shape):
    """A name and address for pods."""

    metadata: Meta
    spec: ServiceSpec | None = None


class Ready(_Shape):
    """Conditions of an endpoint."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Target(_Shape):
    """The pod behind an endpoint."""

    kind: Text = None
    namespace: Text = None
    name: Text = None


class Endpoint(_Shape):
    """One address set of an EndpointSlice."""

    addresses: list[str] | None = None
    conditions: Ready | None = None
    hostname: Text = None
    node_name: Text = None
    zone: Text = None
    target_ref: Target | None = None


class SlicePort(_Shape):
    """A port all endpoints of a slice share."""

    name: Text = None
    port: int | None = None
    protocol: Text = None
    app_protocol: Text = None


class EndpointSlice(_Shape):
    """Some of the endpoints of a Service."""

    metadata: Meta
    address_type: Text = None
    endpoints: list[Endpoint] | None = None
    ports: list[SlicePort] | None = None


class Bare(_Shape):
    """Nodes and Namespaces: labels and annotations are all the mesh reads."""

    metadata: Meta


class Data(_Shape):
    """A Secret or ConfigMap of the control plane's own."""

    metadata: Meta
    data: Texts = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind the reflector follows."""

    name: str
    api: str
    plural: str
    shape: type[Any]


FEED = (
    Kind(name="Namespace", api="v1", plural="namespaces", shape=Bare),
    Kind(name="Node", api="v1", plural="nodes", shape=Bare),
    Kind(name="Service", api="v1", plural="services", shape=Service),
    Kind(name="EndpointSlice", api="discovery.k8s.io/v1", plural="endpointslices", shape=EndpointSlice),
    Kind(name="Pod", api="v1", plural="pods", shape=Pod),
)


def plain(obj: Any) -> dict[str, Any]:
    """Turn a decoded struct into the dict the store keeps: no version (it is no news), and only Tulle's own annotations."""
    metadata: Meta = obj.metadata
    metadata.resource_version = None
    if metadata.annotations:
        kept = {k: v for k, v in metadata.annotations.items() if k.partition("/")[0] == names.GROUP}
        metadata.annotations = kept or None
    kept_dict: dict[str, Any] = msgspec.to_builtins(obj)
    return kept_dict
