"""The kinds Tulle reads: where each is found, in which versions it can be read, and which words of its metadata are kept.

In: nothing. Out: `FEED`, all that goes into the store, by group; a kind of a CustomResourceDefinition may be absent, or served in any of several versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.feed import shapes
from controlplane.feed.keeping import kept
from meshapi import names

GATEWAY = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind the reflector follows."""

    name: str
    plural: str
    shape: type[Any]
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    """Those that can be read, the newest first."""
    custom: bool = False
    """Whether a CustomResourceDefinition says if and how it is served."""
    vital: bool = True
    """Whether serving without it would do harm: it is waited for, however long it takes."""
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    """Which of them are read."""

    @property
    def definition(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"

    @property
    def first(self) -> str:
        """Group and the first of the versions, as paths have them."""
        return self.api(self.versions[0])

    def api(self, version: str) -> str:
        """Group and version, as paths have them."""
        return f"{self.group}/{version}" if self.group else version

    def kept(self, obj: Any) -> Any:
        """Leave of a decoded object what the store keeps."""
        return kept(obj, self.labels, self.annotations)


_POD_LABELS = frozenset(
    {
        names.MESH_LABEL,
        "app",
        "app.kubernetes.io/name",
        "version",
        "app.kubernetes.io/version",
        "pod-template-hash",
        "rollouts-pod-template-hash",
    }
)
NODE_LABELS = frozenset(
    {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "node.kubernetes.io/instance-type",
    }
)
"""Those that zones are read from, and that pods usually choose nodes by."""
_OPAQUE = frozenset({names.OPAQUE_PORTS})
_OWN_WORD = frozenset({names.INJECT})

CLUSTER = (
    Kind(name="Namespace", plural="namespaces", shape=shapes.Namespace, labels=_OWN_WORD, annotations=_OWN_WORD),
    Kind(name="Node", plural="nodes", shape=shapes.Node, labels=NODE_LABELS),
    Kind(name="Service", plural="services", shape=shapes.Service, annotations=_OPAQUE),
    Kind(
        name="EndpointSlice",
        group="discovery.k8s.io",
        plural="endpointslices",
        shape=shapes.EndpointSlice,
        labels=frozenset({"kubernetes.io/service-name"}),
    ),
    Kind(
        name="Pod",
        plural="pods",
        shape=shapes.Pod,
        labels=_POD_LABELS,
        annotations=_OPAQUE | {names.EXCLUDE_INBOUND_PORTS, names.SKIPPED},
    ),
)
"""What runs in the cluster."""

ROUTES = tuple(
    Kind(name=name, group=GATEWAY, plural=plural, versions=versions, shape=shapes.Configured, custom=True, vital=False)
    for name, plural, versions in (
        ("HTTPRoute", "httproutes", ("v1", "v1beta1")),
        ("GRPCRoute", "grpcroutes", ("v1", "v1alpha2")),
        ("TLSRoute", "tlsroutes", ("v1", "v1alpha3", "v1alpha2")),
        ("TCPRoute", "tcproutes", ("v1", "v1alpha2")),
    )
)
"""Gateway API's; without them traffic goes where Services say."""

OWN = tuple(
    Kind(name=name, group=names.GROUP, plural=plural, versions=("v1alpha1",), shape=shapes.Configured, custom=True)
    for name, plural in (("Mesh", "meshes"), ("PeerAuthentication", "peerauthentications"))
)
"""Tulle's; a replica that did not know them would let in what they keep out."""

CONFIGURED = (*ROUTES, *OWN)
"""What users write for the mesh and are told about."""

WORKLOADS = tuple(
    Kind(name=name, group="apps", plural=plural, shape=shapes.Workload, annotations=_OWN_WORD, vital=False)
    for name, plural in (("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets"))
)
"""What may opt in by an annotation of its own; only who writes needs them."""

ROLLOUT = Kind(
    name="Rollout",
    group="argoproj.io",
    plural="rollouts",
    versions=("v1alpha1",),
    shape=shapes.Rollout,
    custom=True,
    vital=False,
    annotations=_OWN_WORD,
)
"""Argo's, which may opt in as well; most clusters have none."""

ROLLED = (*WORKLOADS, ROLLOUT)

REGISTRATIONS = tuple(
    Kind(
        name=f"{kind}WebhookConfiguration",
        group="admissionregistration.k8s.io",
        plural=f"{kind.lower()}webhookconfigurations",
        shape=shapes.WebhookConfiguration,
    )
    for kind in ("Mutating", "Validating")
)
"""The installation's own webhook configurations, and no others: the role allows no more."""

FEED = (*CLUSTER, *CONFIGURED, *ROLLED, *REGISTRATIONS)
"""Everything that goes into the store."""

DEFINITION = Kind(
    name="CustomResourceDefinition",
    group="apiextensions.k8s.io",
    plural="customresourcedefinitions",
    shape=shapes.Definition,
)
SECRET = Kind(name="Secret", plural="secrets", shape=shapes.Data, annotations=frozenset({names.ROOT_CHANGE}))
CONFIG_MAP = Kind(name="ConfigMap", plural="configmaps", shape=shapes.Data)


def kind_of(name: str) -> Kind:
    """Find a kind of the feed; raises KeyError."""
    return _BY_NAME[name]


_BY_NAME = {kind.name: kind for kind in FEED}
