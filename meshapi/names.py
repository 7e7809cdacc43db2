"""Names both planes, the chart and the command line agree on.

Nothing here is computed: labels and annotations users write, ports the parts listen on, environment
variables the injector sets and the sidecar reads, and paths inside a pod.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "tulle.dev"
"""API group of Tulle's own kinds and prefix of its labels and annotations."""
VERSION: Final = "v1alpha1"
"""Version of the API group."""
PRODUCT_VERSION: Final = "0.1.0"
"""Of this build: chart, image, control plane and sidecar carry the same."""
CONTROLLER_NAME: Final = "tulle.dev/mesh-controller"
"""The `controllerName` in Gateway API route status."""
FIELD_MANAGER: Final = "tulle"
"""Who Tulle is where it applies objects server-side."""
FINALIZER: Final = "tulle.dev/finalizer"
"""kopf's finalizer, were a handler ever to need one; none does."""

# --- opting in (on a pod template, a workload, a namespace) -----------------------------------------------------------
INJECT: Final = "tulle.dev/inject"
"""`enabled` or `disabled`; annotation on pods and workloads, label on namespaces (annotation there works too)."""
ENABLED: Final = "enabled"
"""The word that opts in."""
DISABLED: Final = "disabled"
"""The word that opts out."""
INJECTED_BY: Final = "tulle.dev/injected-by"
"""On a pod template: the workload (`Kind/name`) on whose behalf the operator put `tulle.dev/inject` here; holds for that one alone."""
STATUS: Final = "tulle.dev/status"
"""On an injected pod: JSON of what was injected (version, containers, volumes)."""
SKIPPED: Final = "tulle.dev/skipped"
"""On a pod that asked for a sidecar and did not get one: the reason, in a sentence."""
ROOT_CHANGE: Final = "tulle.dev/root-change"
"""On the Secret with the issuer in use: JSON of how far a change of roots has come; written by the control plane alone."""
MESH_LABEL: Final = "tulle.dev/mesh"
"""Label `tulle.dev/mesh=enabled` on every injected pod: its endpoints speak mesh TLS."""

# --- annotations that tune one pod's sidecar --------------------------------------------------------------------------
EXCLUDE_INBOUND_PORTS: Final = "tulle.dev/exclude-inbound-ports"
"""Ports of this pod reached without the sidecar: numbers with commas between."""
EXCLUDE_OUTBOUND_PORTS: Final = "tulle.dev/exclude-outbound-ports"
"""Ports of destinations this pod reaches without the sidecar: numbers with commas between."""
EXCLUDE_OUTBOUND_CIDRS: Final = "tulle.dev/exclude-outbound-cidrs"
"""Networks this pod reaches without the sidecar, such as `10.0.0.0/8,fd00::/8`."""
OPAQUE_PORTS: Final = "tulle.dev/opaque-ports"
"""Ports of this pod (inbound) relayed as TCP without looking inside; on a Service: ports clients treat so."""
PROXY_CPU_REQUEST: Final = "tulle.dev/proxy-cpu-request"
"""CPU requested for the sidecar, a Kubernetes quantity."""
PROXY_CPU_LIMIT: Final = "tulle.dev/proxy-cpu-limit"
"""CPU the sidecar may use at most, a Kubernetes quantity."""
PROXY_MEMORY_REQUEST: Final = "tulle.dev/proxy-memory-request"
"""Memory requested for the sidecar, a Kubernetes quantity."""
PROXY_MEMORY_LIMIT: Final = "tulle.dev/proxy-memory-limit"
"""Memory the sidecar may use at most, a Kubernetes quantity; at nine tenths of it new requests are refused."""
PROXY_LOG_LEVEL: Final = "tulle.dev/proxy-log-level"
"""`debug`, `info`, `warning` or `error`."""
PROXY_CONCURRENCY: Final = "tulle.dev/proxy-concurrency"
"""Workers of the sidecar that share its ports, 1 to 64."""
PROXY_IMAGE: Final = "tulle.dev/proxy-image"
"""Image of the sidecar and its init container, instead of the mesh's: one of those the mesh's operator allows."""
DRAIN_SECONDS: Final = "tulle.dev/drain-seconds"
"""How long connections may take to end when the pod stops, 0 to 3600."""
IDLE_SECONDS: Final = "tulle.dev/idle-seconds"
"""How long the sidecar keeps a destination its app does not use, 5 to 86400."""

# --- ports ------------------------------------------------------------------------------------------------------------
OUTBOUND_PORT: Final = 15001
"""Sidecar: where the pod's own outgoing connections are redirected to."""
INBOUND_PORT: Final = 15006
"""Sidecar: where connections to the pod are redirected to."""
XDS_PORT: Final = 15012
"""ADS and CA, gRPC over TLS."""
CONTROL_ADMIN_PORT: Final = 15014
"""Control plane: health, metrics, `/proxies`, `/snapshot`."""
WEBHOOK_PORT: Final = 15017
"""Control plane: admission webhooks, HTTPS."""
PROXY_ADMIN_PORT: Final = 15020
"""Sidecar: health, metrics, configuration, the app's probes."""

# --- inside an injected pod -------------------------------------------------------------------------------------------
PROXY_UID: Final = 1337
"""User and group of the sidecar; its own traffic is told from the app's by it."""
PROXY_CONTAINER: Final = "tulle-proxy"
"""The sidecar."""
INIT_CONTAINER: Final = "tulle-init"
"""The container that writes the capture rules and ends."""
TOKEN_AUDIENCE: Final = "tulle-ca"  # noqa: S105 - an audience, not a secret
"""Audience of the token a sidecar shows to the control plane; it opens nothing else."""
TOKEN_DIR: Final = "/var/run/secrets/tulle.dev"  # noqa: S105 - a path, not a secret
"""Where that token is mounted, in the sidecar alone."""
TOKEN_PATH: Final = "/var/run/secrets/tulle.dev/token"  # noqa: S105 - a path, not a secret
"""The file; the kubelet renews it."""
BACKDATED_SECONDS: Final = 300
"""By how much the validity of a workload's certificate begins before its issue (clocks of nodes differ); it is no part of the certificate's life."""
LEAST_CERTIFICATE_SECONDS: Final = 60
"""Shortest life of a workload's certificate: from its renewal on there is time for two tries that fail and one that does not."""
STATE_DIR: Final = "/var/run/tulle"
"""An emptyDir (Memory) of the sidecar: the trust bundle it learned last, so a restarted container trusts rotated roots."""

# --- environment of the sidecar ---------------------------------------------------------------------------------------
ENV_XDS_ADDRESS: Final = "TULLE_XDS_ADDRESS"
"""`host:port` of the control plane's ADS and CA; the host is also the name its certificate must carry."""
ENV_TRUST_DOMAIN: Final = "TULLE_TRUST_DOMAIN"
"""The first part of every identity."""
ENV_CA_ROOTS: Final = "TULLE_CA_ROOTS"
"""PEM of the roots trusted when the pod was made (public; newer ones come over SDS)."""
ENV_POD: Final = "TULLE_POD"
"""The pod's name."""
ENV_NAMESPACE: Final = "TULLE_NAMESPACE"
"""The pod's namespace."""
ENV_POD_IP: Final = "TULLE_POD_IP"
"""The pod's address."""
ENV_POD_IPS: Final = "TULLE_POD_IPS"
"""All its addresses, with commas between."""
ENV_SERVICE_ACCOUNT: Final = "TULLE_SERVICE_ACCOUNT"
"""The pod's service account."""
ENV_WORKLOAD: Final = "TULLE_WORKLOAD"
"""`kind/name` of the owner as far as the injector knows it, e.g. `Deployment/web`."""
ENV_APP_PROBES: Final = "TULLE_APP_PROBES"
"""JSON {path: {"port": int, "path": str, "scheme": str, "headers": [[k, v]], "tcp": bool, "timeout": seconds}}: the app's
own probes, which the kubelet now asks of the sidecar at `:15020<path>` (path `/app-health/<container>/<livez|readyz|startupz>`)."""
PRESTOP_PATH: Final = "/app-lifecycle/prestop"
"""On the sidecar's admin port: asked by the kubelet before it stops the app, answered when callers have moved on."""
PRESTOP_SECONDS: Final = 10
"""How long that answer takes at most."""
ENV_LOG_LEVEL: Final = "TULLE_LOG_LEVEL"
"""`debug`, `info`, `warning` or `error`."""
ENV_CONCURRENCY: Final = "TULLE_CONCURRENCY"
"""Number of workers."""
ENV_DRAIN_SECONDS: Final = "TULLE_DRAIN_SECONDS"
"""How long connections may take to end."""
ENV_IDLE_SECONDS: Final = "TULLE_IDLE_SECONDS"
"""How long a destination that is not used is kept."""
ENV_ACCESS_LOG_SHARE: Final = "TULLE_ACCESS_LOG_SHARE"
"""Percent of requests that are logged where the access log is on; failed ones always are."""
ENV_MEMORY_LIMIT: Final = "TULLE_MEMORY_LIMIT"
"""Bytes the sidecar may have, where that is less than its cgroup's limit."""
ENV_MAX_CONNECTIONS: Final = "TULLE_MAX_CONNECTIONS"
"""Connections of a worker, from clients and to servers."""
ENV_MAX_CONNECTIONS_PER_SOURCE: Final = "TULLE_MAX_CONNECTIONS_PER_SOURCE"
"""Connections of one client address to this pod; 0 is no bound."""
ENV_MAX_HEADER_BYTES: Final = "TULLE_MAX_HEADER_BYTES"
"""Bytes of a request's or answer's head, with its first line."""
ENV_MAX_HEADER_COUNT: Final = "TULLE_MAX_HEADER_COUNT"
"""Header lines of a request or an answer."""

NOT_CONNECTED: Final = "no connection to the control plane, trying again: "
"""How a sidecar's log line begins that says why it is not connected; `tulle proxy-status` looks for it."""

# --- words on the wire ------------------------------------------------------------------------------------------------
ALPN_H2: Final = "tulle-h2"
"""Mesh TLS that carries HTTP/2."""
ALPN_HTTP1: Final = "tulle-http/1.1"
"""Mesh TLS that carries HTTP/1.1 (upgrades)."""
ALPN_TCP: Final = "tulle-tcp"
"""Mesh TLS that carries bytes nobody looks into."""
ALPN_CARRIER: Final = "tulle-tcp/2"
"""Mesh TLS that carries such bytes of one connection after another, in frames; between two sidecars that both know it."""
ERROR_HEADER: Final = "x-tulle-error"
"""On every response the proxy makes itself: the reason, a word from docs/reference/errors.md."""
ORIGINAL_PROTOCOL_HEADER: Final = "x-tulle-original-protocol"
"""On requests between sidecars: the version the app spoke (`HTTP/1.1`, `HTTP/1.0`), so it comes out as it went in."""
