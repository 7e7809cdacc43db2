"""What an object is in the store: a record of the fields somebody reads, and no others.

A 4 KB pod becomes a few hundred bytes, and an object in which nothing differs that is read is no change. A field that is read must be named here, and
one that is named must be read (tests/controlplane/test_feed_shapes.py looks). Routes and Tulle's own kinds keep all of their `spec`, since what cannot be
followed there is told to its author.
"""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.feed.record import Record

Text = str | None
Texts = dict[str, str] | None


class Meta(Record, frozen=True):
    """What every object is known by."""

    name: str = ""
    namespace: Text = None
    resource_version: Text = None


class Worded(Meta, frozen=True):
    """Metadata with the labels and annotations somebody reads."""

    labels: Texts = None
    annotations: Texts = None


class Judged(Meta, frozen=True):
    """Metadata of what its author is told about."""

    generation: int | None = None
    creation_timestamp: Text = None


class Owner(Record, frozen=True):
    """The controller of a Pod."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class PodMeta(Worded, frozen=True):
    """Metadata of a Pod."""

    owner_references: tuple[Owner, ...] | None = None
    creation_timestamp: Text = None


class Port(Record, frozen=True):
    """A port of a container."""

    container_port: int = 0
    name: Text = None
    protocol: Text = None


class Container(Record, frozen=True):
    """A container, as far as the network sees it."""

    name: str = ""
    ports: tuple[Port, ...] | None = None


class Named(Record, frozen=True):
    """A container of a pod's start; one of them may be the sidecar."""

    name: str = ""


class PodSpec(Record, frozen=True):
    """Where and as whom a pod runs."""

    node_name: Text = None
    service_account_name: Text = None
    host_network: bool | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Named, ...] | None = None


class PodIP(Record, frozen=True):
    """One address of a pod."""

    ip: str = ""


class PodStatus(Record, frozen=True):
    """A pod's addresses, and whether it has ended."""

    phase: Text = None
    pod_ip: Text = msgspec.field(default=None, name="podIP")
    pod_ips: tuple[PodIP, ...] | None = msgspec.field(default=None, name="podIPs")


class Pod(Record, frozen=True):
    """A workload instance."""

    metadata: PodMeta
    spec: PodSpec | None = None
    status: PodStatus | None = None


class ServicePort(Record, frozen=True):
    """A port of a Service."""

    port: int = 0
    name: Text = None
    protocol: Text = None
    app_protocol: Text = None


class ServiceSpec(Record, frozen=True):
    """What a Service promises."""

    type: Text = None
    cluster_ip: Text = msgspec.field(default=None, name="clusterIP")
    cluster_ips: tuple[str, ...] | None = msgspec.field(default=None, name="clusterIPs")
    ports: tuple[ServicePort, ...] | None = None
    external_ips: tuple[str, ...] | None = msgspec.field(default=None, name="externalIPs")
    internal_traffic_policy: Text = None
    session_affinity: Text = None


class Ingress(Record, frozen=True):
    """One address of a load balancer."""

    ip: Text = None
    ip_mode: Text = None


class LoadBalancer(Record, frozen=True):
    """What a load balancer was given."""

    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(Record, frozen=True):
    """Where else a Service is reached."""

    load_balancer: LoadBalancer | None = None


class Service(Record, frozen=True):
    """A name and address for pods."""

    metadata: Worded
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class Ready(Record, frozen=True):
    """Conditions of an endpoint."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Target(Record, frozen=True):
    """The pod behind an endpoint."""

    kind: Text = None
    namespace: Text = None
    name: Text = None


class Hint(Record, frozen=True):
    """A zone or node whose callers an endpoint is meant for."""

    name: str = ""


class Hints(Record, frozen=True):
    """Whose callers an endpoint is meant for, as the EndpointSlice controller decided."""

    for_zones: tuple[Hint, ...] | None = None
    for_nodes: tuple[Hint, ...] | None = None


class Endpoint(Record, frozen=True):
    """One address set of an EndpointSlice."""

    addresses: tuple[str, ...] | None = None
    conditions: Ready | None = None
    node_name: Text = None
    zone: Text = None
    hints: Hints | None = None
    target_ref: Target | None = None


class SlicePort(Record, frozen=True):
    """A port all endpoints of a slice share."""

    name: Text = None
    port: int | None = None
    protocol: Text = None


class EndpointSlice(Record, frozen=True):
    """Some of the endpoints of a Service."""

    metadata: Worded
    address_type: Text = None
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None


class Namespace(Record, frozen=True):
    """What a namespace says of its pods."""

    metadata: Worded


class NodeInfo(Record, frozen=True):
    """A node's software."""

    kubelet_version: Text = None


class NodeCondition(Record, frozen=True):
    """Whether a node is ready, among other things."""

    type: str = ""
    status: str = ""


class NodeStatus(Record, frozen=True):
    """What a node says of itself."""

    node_info: NodeInfo | None = None
    conditions: tuple[NodeCondition, ...] | None = None


class NodeSpec(Record, frozen=True):
    """Whether pods may be put on a node."""

    unschedulable: bool | None = None


class Node(Record, frozen=True):
    """Where pods run."""

    metadata: Worded
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class Configured(Record, frozen=True):
    """A route or one of Tulle's own kinds: what its author wrote, and what is told about it."""

    metadata: Judged
    spec: Any = None
    status: Any = None


class WorkloadMeta(Worded, frozen=True):
    """Metadata of a workload."""

    generate_name: Text = None
    deletion_timestamp: Text = None


class TemplateMeta(Record, frozen=True):
    """The words of a pod template."""

    labels: Texts = None
    annotations: Texts = None


class Template(Record, frozen=True):
    """A pod template."""

    metadata: TemplateMeta | None = None


class WorkloadSpec(Record, frozen=True):
    """What a workload makes its pods of."""

    template: Template | None = None


class Workload(Record, frozen=True):
    """A Deployment, StatefulSet or DaemonSet."""

    metadata: WorkloadMeta
    spec: WorkloadSpec | None = None


class Reference(Record, frozen=True):
    """Another object of the same namespace."""

    kind: str = ""
    name: str = ""


class RolloutSpec(Record, frozen=True):
    """What an Argo Rollout makes its pods of: a template of its own, or another workload's."""

    template: Template | None = None
    workload_ref: Reference | None = None


class Rollout(Record, frozen=True):
    """An Argo Rollout."""

    metadata: WorkloadMeta
    spec: RolloutSpec | None = None


class WebhookService(Record, frozen=True):
    """Whom the API server calls."""

    name: str = ""
    namespace: str = ""


class ClientConfig(Record, frozen=True):
    """How the API server calls, and whom it trusts."""

    ca_bundle: Text = None
    service: WebhookService | None = None


class Webhook(Record, frozen=True):
    """One webhook of a configuration."""

    name: str = ""
    client_config: ClientConfig | None = None


class WebhookConfiguration(Record, frozen=True):
    """A registration of webhooks."""

    metadata: Meta
    webhooks: tuple[Webhook, ...] | None = None


class Version(Record, frozen=True):
    """One version of a kind."""

    name: str = ""
    served: bool = False


class Condition(Record, frozen=True):
    """One condition of a definition."""

    type: str = ""
    status: str = ""


class DefinitionSpec(Record, frozen=True):
    """The versions of a kind."""

    versions: tuple[Version, ...] | None = None


class DefinitionStatus(Record, frozen=True):
    """Whether a kind is served yet."""

    conditions: tuple[Condition, ...] | None = None


class Definition(Record, frozen=True):
    """A CustomResourceDefinition."""

    metadata: Meta
    spec: DefinitionSpec | None = None
    status: DefinitionStatus | None = None


class Data(Record, frozen=True):
    """A Secret or ConfigMap of the control plane's own."""

    metadata: Worded
    data: Texts = None
