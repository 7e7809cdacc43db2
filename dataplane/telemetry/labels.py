"""Who talked to whom, as label values: Istio's standard names, so that dashboards port by a rename.

In: facts the config, the certificate and the peer gave. Out: a frozen `Peers`, looked up once per pair and then bound.
Missing facts are `unknown`, as Istio has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshapi import identity
from meshapi.records import record, replace

UNKNOWN = "unknown"


@record
class Workload:
    """One side of a call."""

    workload: str = UNKNOWN
    namespace: str = UNKNOWN
    principal: str = UNKNOWN
    """Its SPIFFE URI, when proven."""
    app: str = UNKNOWN
    version: str = UNKNOWN


NOBODY = Workload()


@record
class Peers:
    """A pair of peers and the service between them."""

    reporter: str
    """`source` in the caller's sidecar, `destination` in the callee's."""
    source: Workload = NOBODY
    destination: Workload = NOBODY
    service: str = UNKNOWN
    """The host, e.g. `web.shop.svc.cluster.local`."""
    service_name: str = UNKNOWN
    service_namespace: str = UNKNOWN
    security: str = "none"
    """`mutual_tls` or `none`."""

    def pairs(self) -> list[tuple[str, str]]:
        """Name and value of each label, in the order they are exposed."""
        source, destination = self.source, self.destination
        return [
            ("reporter", self.reporter),
            ("source_workload", source.workload),
            ("source_workload_namespace", source.namespace),
            ("source_principal", source.principal),
            ("source_app", source.app),
            ("source_version", source.version),
            ("destination_workload", destination.workload),
            ("destination_workload_namespace", destination.namespace),
            ("destination_principal", destination.principal),
            ("destination_app", destination.app),
            ("destination_version", destination.version),
            ("destination_service", self.service),
            ("destination_service_name", self.service_name),
            ("destination_service_namespace", self.service_namespace),
            ("connection_security_policy", self.security),
        ]


OVERFLOW = Peers(reporter="overflow")
"""Where pairs beyond the bound are counted together."""


def workload(labels: Mapping[str, str], principal: str = "") -> Workload:
    """Read a workload from an endpoint's or the sidecar's own labels; what they lack is taken from `principal`."""
    namespace = labels.get("namespace", "") or namespace_of(principal)
    return Workload(
        workload=labels.get("workload") or UNKNOWN,
        namespace=namespace or UNKNOWN,
        principal=principal or UNKNOWN,
        app=labels.get("app") or UNKNOWN,
        version=labels.get("version") or UNKNOWN,
    )


def namespace_of(principal: str) -> str:
    """Return the namespace in a SPIFFE URI of the mesh's form, else nothing."""
    try:
        return identity.parse(principal).namespace if principal else ""
    except identity.BadIdentityError:
        return ""


def inbound(own: Workload, principal: str, labels: Mapping[str, str], *, secure: bool) -> Peers:
    """Name the peers of a connection that came in: the caller is whom its certificate says."""
    return Peers(
        reporter="destination",
        source=workload(labels, principal),
        destination=own,
        security="mutual_tls" if secure else "none",
    )


def outbound(
    own: Workload,
    service: Mapping[str, str],
    endpoint: Mapping[str, str],
    identity_uri: str,
    *,
    mesh: bool | None = None,
) -> Peers:
    """Name the peers of a call that goes out; `service` are the cluster's labels, `endpoint` the chosen endpoint's.

    `mesh` says whether it goes by mesh TLS; left out, an identity means that it does.
    """
    name, namespace = service.get("service", ""), service.get("namespace", "")
    host = service.get("host") or (f"{name}.{namespace}.svc.cluster.local" if name and namespace else name)
    return Peers(
        reporter="source",
        source=own,
        destination=workload(endpoint, identity_uri),
        service=host or UNKNOWN,
        service_name=name or UNKNOWN,
        service_namespace=namespace or UNKNOWN,
        security="mutual_tls" if (bool(identity_uri) if mesh is None else mesh) else "none",
    )


def unnamed(peers: Peers) -> Peers:
    """Return the same peers without what the source told of itself: who it is is what its certificate says."""
    return replace(peers, source=workload({}, peers.source.principal))


def plain(value: str) -> str:
    """Make control characters and braces, which break naive scrapers, `?`: of what a peer may say before pairs are told apart by it, or two would be shown as one."""
    if value.isprintable() and "}" not in value:
        return value
    return "".join(c if c.isprintable() and c != "}" else "?" for c in value)


_TOLD = ("workload", "namespace", "app", "version")
_LONGEST = 253


def introduce(own: Workload) -> bytes:
    """Write our own labels for the sidecars we call; `introduced` reads them."""
    parts = [own.workload, own.namespace, own.app, own.version]
    return "|".join("" if part == UNKNOWN else part.replace("|", "") for part in parts).encode("ascii", "replace")


def introduced(told: bytes, principal: str) -> dict[str, str]:
    """Read what a sidecar said about itself; its namespace is the proven one where there is one, nonsense is nothing."""
    parts = plain(told.decode("ascii", "replace")).split("|")
    if len(parts) != len(_TOLD) or any(len(part) > _LONGEST for part in parts):
        return {}
    found = {name: part for name, part in zip(_TOLD, parts, strict=True) if part}
    proven = namespace_of(principal)
    return found | {"namespace": proven} if proven else found
