"""Which fields of an object are kept: those somebody reads, and no others.

A 4 KB pod becomes a few hundred bytes, and an object in which nothing differs that is read is no change. A field that is read must be named here, and
one that is named must be read (tests/controlplane/test_feed_shapes.py looks). Routes and Tulle's own kinds keep all of their `spec`, since what cannot be
followed there is told to its author.
"""

from __future__ import annotations

from typing import Any

import msgspec

Text = str | None
Texts = dict[str, str] | None


class _Shape(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    pass


class Meta(_Shape):
    """What every object is known by."""

    name: str = ""
    namespace: Text = None
    resource_version: Text = None


class Worded(Meta):
    """Metadata with the labels and annotations somebody reads."""

    labels: Texts = None
    annotations: Texts = None


class Judged(Meta):
    """Metadata of what its author is told about."""

    generation: int | None = None
    creation_timestamp: Text = None


class Owner(_Shape):
    """The controller of a Pod."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class PodMeta(Worded):
    """Metadata of a Pod."""

    owner_references: list[Owner] | None = None
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


class PodStatus(_Shape):
    """A pod's addresses, and whether it has ended."""

    phase: Text = None
    pod_ip: Text = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = msgspec.field(default=None, name="podIPs")


class Pod(_Shape):
    """A workload instance."""

    metadata: PodMeta
    spec: PodSpec | None = None
    status: PodStatus | None = None


class ServicePort(_Shape):
    """A port of a Service."""

    port: int = 0
    name: Text = None
    protocol: Text = None
    app_protocol: Text = None


class ServiceSpec(_Shape):
    """What a Service promises."""

    type: Text = None
    cluster_ip: Text = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    ports: list[ServicePort] | None = None
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    internal_traffic_policy: Text = None
    session_affinity: Text = None


class Ingress(_Shape):
    """One address of a load balancer."""

    ip: Text = None
    ip_mode: Text = None


class LoadBalancer(_Shape):
    """What a load balancer was given."""

    ingress: list[Ingress] | None = None


class ServiceStatus(_Shape):
    """Where else a Service is reached."""

    load_balancer: LoadBalancer | None = None


class Service(_Shape):
    """A name and address for pods."""

    metadata: Worded
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


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


class Hint(_Shape):
    """A zone or node whose callers an endpoint is meant for."""

    name: str = ""


class Hints(_Shape):
    """Whose callers an endpoint is meant for, as the EndpointSlice controller decided."""

    for_zones: list[Hint] | None = None
    for_nodes: list[Hint] | None = None


class Endpoint(_Shape):
    """One address set of an EndpointSlice."""

    addresses: list[str] | None = None
    conditions: Ready | None = None
    node_name: Text = None
    zone: Text = None
    hints: Hints | None = None
    target_ref: Target | None = None


class SlicePort(_Shape):
    """A port all endpoints of a slice share."""

    name: Text = None
    port: int | None = None
    protocol: Text = None


class EndpointSlice(_Shape):
    """Some of the endpoints of a Service."""

    metadata: Worded
    address_type: Text = None
    endpoints: list[Endpoint] | None = None
    ports: list[SlicePort] | None = None


class Namespace(_Shape):
    """What a namespace says of its pods."""

    metadata: Worded


class NodeInfo(_Shape):
    """A node's software."""

    kubelet_version: Text = None


class NodeCondition(_Shape):
    """Whether a node is ready, among other things."""

    type: str = ""
    status: str = ""


class NodeStatus(_Shape):
    """What a node says of itself."""

    node_info: NodeInfo | None = None
    conditions: list[NodeCondition] | None = None


class NodeSpec(_Shape):
    """Whether pods may be put on a node."""

    unschedulable: bool | None = None


class Node(_Shape):
    """Where pods run."""

    metadata: Worded
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class Configured(_Shape):
    """A route or one of Tulle's own kinds: what its author wrote, and what is told about it."""

    metadata: Judged
    spec: Any = None
    status: Any = None


class WorkloadMeta(Worded):
    """Metadata of a workload."""

    generate_name: Text = None
    deletion_timestamp: Text = None


class TemplateMeta(_Shape):
    """The words of a pod template."""

    labels: Texts = None
    annotations: Texts = None


class Template(_Shape):
    """A pod template."""

    metadata: TemplateMeta | None = None


class WorkloadSpec(_Shape):
    """What a workload makes its pods of."""

    template: Template | None = None


class Workload(_Shape):
    """A Deployment, StatefulSet or DaemonSet."""

    metadata: WorkloadMeta
    spec: WorkloadSpec | None = None


class Reference(_Shape):
    """Another object of the same namespace."""

    kind: str = ""
    name: str = ""


class RolloutSpec(_Shape):
    """What an Argo Rollout makes its pods of: a template of its own, or another workload's."""

    template: Template | None = None
    workload_ref: Reference | None = None


class Rollout(_Shape):
    """An Argo Rollout."""

    metadata: WorkloadMeta
    spec: RolloutSpec | None = None


class WebhookService(_Shape):
    """Whom the API server calls."""

    name: str = ""
    namespace: str = ""


class ClientConfig(_Shape):
    """How the API server calls, and whom it trusts."""

    ca_bundle: Text = None
    service: WebhookService | None = None


class Webhook(_Shape):
    """One webhook of a configuration."""

    name: str = ""
    client_config: ClientConfig | None = None


class WebhookConfiguration(_Shape):
    """A registration of webhooks."""

    metadata: Meta
    webhooks: list[Webhook] | None = None


class Version(_Shape):
    """One version of a kind."""

    name: str = ""
    served: bool = False


class Condition(_Shape):
    """One condition of a definition."""

    type: str = ""
    status: str = ""


class DefinitionSpec(_Shape):
    """The versions of a kind."""

    versions: list[Version] | None = None


class DefinitionStatus(_Shape):
    """Whether a kind is served yet."""

    conditions: list[Condition] | None = None


class Definition(_Shape):
    """A CustomResourceDefinition."""

    metadata: Meta
    spec: DefinitionSpec | None = None
    status: DefinitionStatus | None = None


class Data(_Shape):
    """A Secret or ConfigMap of the control plane's own."""

    metadata: Worded
    data: Texts = None
