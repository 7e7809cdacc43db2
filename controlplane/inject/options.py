"""What the mesh's operator decided about sidecars, as one value the injector is handed.

In: chart values by way of `controlplane.settings`, the roots of the certificate authority, the cluster's version.
Out: `InjectSettings`, complete, so that injecting needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.inject.optin import untouched
from controlplane.settings import ProxyDefaults
from meshapi import names


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectSettings:
    """Everything an injection depends on besides the pod and its namespace."""

    proxy: ProxyDefaults = field(default_factory=ProxyDefaults)
    xds_address: str = "tulle.tulle-system.svc:15012"
    """`host:port` sidecars dial; the control plane's certificate carries the host."""
    trust_domain: str = "cluster.local"
    ca_roots: str = ""
    """PEM of all roots trusted now (decision 0002)."""
    native_sidecar: bool = True
    """An init container that stays (Kubernetes 1.29 and newer), else a plain container."""
    token_seconds: int = 43200
    """Life of the projected token; the kubelet renews it at four fifths."""
    image_pull_secrets: tuple[str, ...] = ()
    excluded_namespaces: frozenset[str] = untouched("tulle-system")
    """Never touched, whatever their labels say: the cluster's own parts and the control plane."""
    version: str = names.PRODUCT_VERSION
