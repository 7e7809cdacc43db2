"""What the operator of a mesh may set, read from the environment once; a bad value ends the program with one sentence.

In: environment variables, all of them named in `Settings` and set by the chart. Out: one frozen `Settings`. Refuses values that
are no number, out of range or no word of the list allowed, naming the variable, what it held and what is right.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.inject.optin import untouched
from meshapi import identity, names

ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's own token, CA and namespace."""


GRPC_EXPERIMENTS = "-event_engine_listener"
"""A server's sockets are read by the thread that waits for its events, and not by four more that hand each message on (decision 0022)."""


class BadSettingError(ValueError):
    """An environment variable nobody can work with; the message is the sentence to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyDefaults:
    """What an injected sidecar gets unless its pod's annotations say otherwise."""

    image: str = "tulle:0.1.0"
    allowed_images: frozenset[str] = frozenset()
    """Further images a pod may ask for by annotation (TULLE_PROXY_ALLOWED_IMAGES, commas between); one of them runs as root with NET_ADMIN."""
    pull_policy: str = "IfNotPresent"
    cpu_request: str = "50m"
    cpu_limit: str = ""
    memory_request: str = "64Mi"
    memory_limit: str = "256Mi"
    log_level: str = "info"
    concurrency: int = 1
    drain_seconds: int = 25
    native_sidecar: str = "auto"
    """`auto` (by the API server and the oldest kubelet), `true` or `false`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the control plane is told from outside."""

    namespace: str = "tulle-system"
    """Where the control plane runs (TULLE_NAMESPACE, from the downward API)."""
    pod: str = "tulle"
    """This replica's name, the holder in the Lease (TULLE_POD)."""
    service: str = "tulle"
    """The control plane's Service, Lease and webhook configurations carry this name (TULLE_SERVICE)."""
    cluster_domain: str = "cluster.local"
    trust_domain: str = "cluster.local"
    ca_secret: str = "tulle-ca"  # noqa: S105 - the name of a Secret
    ca_create: bool = True
    """Make the CA Secret when it is not there; false when the user brings one (TULLE_CA_CREATE)."""
    ca_roots_config_map: str = ""
    """ConfigMap beside the control plane with further roots to trust, which others own (TULLE_CA_ROOTS_CONFIG_MAP)."""
    certificate_seconds: int = 24 * 3600
    """Life of a workload's certificate (TULLE_CERTIFICATE_SECONDS); a shorter one than the least cannot be renewed calmly."""
    kubeconfig: Path | None = None
    """For development; in a pod the service account is used (KUBECONFIG)."""
    api_server: tuple[str, str] | None = None
    """Host and port of the API server, as Kubernetes tells every pod (KUBERNETES_SERVICE_HOST and _PORT)."""
    log_level: str = "INFO"
    host: str = ""
    """Address to listen on; empty for every one of both families (TULLE_HOST)."""
    xds_port: int = names.XDS_PORT
    admin_port: int = names.CONTROL_ADMIN_PORT
    webhook_port: int = names.WEBHOOK_PORT
    excluded_namespaces: frozenset[str] = frozenset()
    """Never touched, beside kube-system and the control plane's own (TULLE_EXCLUDED_NAMESPACES, commas between)."""
    max_streams: int = 20000
    drain_seconds: float = 5.0
    """How long a SIGTERM gives streams to end (TULLE_DRAIN_SECONDS); the pod's grace period must be longer."""
    proxy: ProxyDefaults = ProxyDefaults()

    @property
    def untouched(self) -> frozenset[str]:
        """Namespaces in which nothing is injected or rolled: the cluster's own parts, the control plane's, and those the operator named."""
        return untouched(self.namespace, self.excluded_namespaces)

    @property
    def kept_secret(self) -> str:
        """The Secret in which the control plane keeps the issuer in use."""
        return f"{self.service}-signing"

    @property
    def bundle_config_map(self) -> str:
        """The ConfigMap in which it remembers roots."""
        return f"{self.service}-trust"

    @property
    def xds_address(self) -> str:
        """`host:port` sidecars dial; the host is the DNS name the serving certificate carries."""
        return f"{self.service}.{self.namespace}.svc:{names.XDS_PORT}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """The names the serving certificate answers to."""
        base = f"{self.service}.{self.namespace}"
        return (f"{base}.svc", f"{base}.svc.{self.cluster_domain}", base)


class _Reader:
    """Typed access to the environment, with a sentence for what does not fit."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str) -> str:
        return self._environment.get(name, "").strip() or default

    def words(self, name: str) -> frozenset[str]:
        return frozenset(word for each in self.text(name, "").split(",") if (word := each.strip()))

    def number(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.text(name, str(default))
        if not raw.isdigit() or not low <= int(raw) <= high:
            raise BadSettingError(f"{name} is {raw!r}, it must be a whole number from {low} to {high}")
        return int(raw)

    def word(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        raw = self.text(name, default)
        if raw not in allowed:
            raise BadSettingError(f"{name} is {raw!r}, it must be one of {', '.join(allowed)}")
        return raw


def _proxy(read: _Reader) -> ProxyDefaults:
    return ProxyDefaults(
        image=read.text("TULLE_IMAGE", "tulle:0.1.0"),
        allowed_images=read.words("TULLE_PROXY_ALLOWED_IMAGES"),
        pull_policy=read.word("TULLE_IMAGE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")),
        cpu_request=read.text("TULLE_PROXY_CPU_REQUEST", "50m"),
        cpu_limit=read.text("TULLE_PROXY_CPU_LIMIT", ""),
        memory_request=read.text("TULLE_PROXY_MEMORY_REQUEST", "64Mi"),
        memory_limit=read.text("TULLE_PROXY_MEMORY_LIMIT", "256Mi"),
        log_level=read.word("TULLE_PROXY_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
        concurrency=read.number("TULLE_PROXY_CONCURRENCY", 1, 1, 64),
        drain_seconds=read.number("TULLE_PROXY_DRAIN_SECONDS", 25, 0, 3600),
        native_sidecar=read.word("TULLE_NATIVE_SIDECAR", "auto", ("auto", "true", "false")),
    )


def _api_server(read: _Reader) -> tuple[str, str] | None:
    host = read.text("KUBERNETES_SERVICE_HOST", "")
    return (host, read.text("KUBERNETES_SERVICE_PORT", "443")) if host else None


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; raises BadSettingError."""
    read = _Reader(os.environ if environment is None else environment)
    account_namespace = ACCOUNT_DIR / "namespace"
    here = account_namespace.read_text().strip() if account_namespace.exists() else "tulle-system"
    kubeconfig = read.text("KUBECONFIG", "")
    trust_domain = read.text("TULLE_TRUST_DOMAIN", "cluster.local")
    try:
        identity.Identity(trust_domain=trust_domain, namespace="default", account="default")
    except identity.BadIdentityError as error:
        raise BadSettingError(f"TULLE_TRUST_DOMAIN: {error}") from error
    found = Settings(
        namespace=read.text("TULLE_NAMESPACE", here),
        pod=read.text("TULLE_POD", read.text("HOSTNAME", "tulle")),
        service=read.text("TULLE_SERVICE", "tulle"),
        cluster_domain=read.text("TULLE_CLUSTER_DOMAIN", "cluster.local"),
        trust_domain=trust_domain,
        ca_secret=read.text("TULLE_CA_SECRET", "tulle-ca"),
        ca_create=read.word("TULLE_CA_CREATE", "true", ("true", "false")) == "true",
        ca_roots_config_map=read.text("TULLE_CA_ROOTS_CONFIG_MAP", ""),
        certificate_seconds=read.number(
            "TULLE_CERTIFICATE_SECONDS", 24 * 3600, names.LEAST_CERTIFICATE_SECONDS, 30 * 24 * 3600
        ),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        api_server=_api_server(read),
        log_level=read.word("TULLE_LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper(),
        host=read.text("TULLE_HOST", ""),
        xds_port=read.number("TULLE_XDS_PORT", names.XDS_PORT, 0, 65535),
        admin_port=read.number("TULLE_ADMIN_PORT", names.CONTROL_ADMIN_PORT, 0, 65535),
        webhook_port=read.number("TULLE_WEBHOOK_PORT", names.WEBHOOK_PORT, 0, 65535),
        excluded_namespaces=read.words("TULLE_EXCLUDED_NAMESPACES"),
        max_streams=read.number("TULLE_MAX_STREAMS", 20000, 1, 1_000_000),
        drain_seconds=read.number("TULLE_DRAIN_SECONDS", 5, 0, 300),
        proxy=_proxy(read),
    )
    _refuse_own_names(found)
    return found


def choose_experiments() -> None:
    """Have gRPC work as it serves us best, unless somebody has said how; before it is imported, for it reads the environment then."""
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)


def _refuse_own_names(settings: Settings) -> None:
    if settings.ca_secret == settings.kept_secret:
        raise BadSettingError(
            f"TULLE_CA_SECRET is {settings.ca_secret!r}: the control plane keeps the issuer in use there; bring one in a Secret of another name"
        )
    if settings.ca_roots_config_map == settings.bundle_config_map:
        raise BadSettingError(
            f"TULLE_CA_ROOTS_CONFIG_MAP is {settings.ca_roots_config_map!r}: the control plane remembers the mesh's own roots there; "
            "lend further ones in a ConfigMap of another name"
        )
