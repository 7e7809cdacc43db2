"""A sidecar's knowledge without a network: a whole `MeshSource`, and the control planes that come and go over its stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataplane.app import MeshSource, Sidecar
from dataplane.discovery import IDLE_SECONDS
from dataplane.settings import Settings
from meshapi import protos, xds
from meshapi.xds import PUSH_ORDER, Type
from tests.support.settings import in_mesh

INBOUND = xds.inbound_listener("shop", "web-1")
_DISCOVERY = "envoy.service.discovery.v3."
_TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
Object = dict[str, Any]


def listener(name: str, cluster: str, **metadata: Any) -> Object:
    """A listener that relays to a cluster."""
    proxy = {"@type": _TCP, "stat_prefix": "x", "cluster": cluster}
    return {
        "name": name,
        "address": {"socket_address": {"address": "10.96.0.1", "port_value": 80}},
        "metadata": {"filter_metadata": {"tulle.dev": metadata}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }


def eds(name: str) -> Object:
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}}}


def endpoints(name: str, *ips: str) -> Object:
    ends = [{"endpoint": {"address": {"socket_address": {"address": ip, "port_value": 80}}}} for ip in ips]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]}


class Cluster:
    """What there is in the mesh, whoever serves it: resources by type and name, as JSON."""

    def __init__(self) -> None:
        self.resources: dict[Type, dict[str, Object]] = {type_: {} for type_ in Type}
        self.put(Type.SECRET, {"name": xds.TRUST_BUNDLE, "validation_context": {"trusted_ca": {"inline_string": "r"}}})
        self.put(Type.CLUSTER, {"name": "own", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"})

    def put(self, type_: Type, value: Object) -> tuple[Type, str]:
        name = value.get("name") or value["cluster_name"]
        self.resources[type_][name] = value
        return type_, name

    def service(self, name: str, *ips: str) -> list[tuple[Type, str]]:
        """A destination and all it leads to; returns what changed."""
        return [
            self.put(Type.ENDPOINTS, endpoints(f"of {name}", *ips)),
            self.put(Type.CLUSTER, eds(f"of {name}")),
            self.put(Type.LISTENER, listener(name, f"of {name}")),
        ]

    def remove(self, name: str) -> list[tuple[Type, str]]:
        """A destination is gone, with all it leads to."""
        gone = [(Type.LISTENER, name), (Type.CLUSTER, f"of {name}"), (Type.ENDPOINTS, f"of {name}")]
        for type_, one in gone:
            self.resources[type_].pop(one, None)
        return gone


class ControlPlane:
    """One process of the control plane, as one sidecar's stream sees it: its memory ends with it. What either side says arrives in order, when `step` lets it."""

    def __init__(self, cluster: Cluster, source: MeshSource, *warm: str) -> None:
        self.cluster = cluster
        self.source = source
        self.warm = list(warm)
        self.subscribed: set[tuple[Type, str]] = set()
        self.sent: dict[tuple[Type, str], str] = {}
        self.refusals: list[str] = []
        self.node: dict[str, Any] = {}
        """What the sidecar said of itself last."""
        self._nonce = 0
        self._asked: list[bytes] = []
        self._said: list[bytes] = []
        self._held: set[Type] = set()
        self._late: list[tuple[Type, str]] = []

    def begin(self) -> ControlPlane:
        """Take the sidecar's stream; what it asks is answered by and by."""
        self.source.control.begin(self._asked.append)
        return self

    def offered(self) -> set[tuple[Type, str]]:
        """What the sidecar says it has, in requests not answered yet."""
        requests = [protos.message(_DISCOVERY + "DeltaDiscoveryRequest").FromString(raw) for raw in self._asked]
        return {(Type(one.type_url), name) for one in requests for name in one.initial_resource_versions}

    @property
    def busy(self) -> bool:
        """Whether anything is on the way."""
        return bool(self._asked or self._said)

    def step(self) -> None:
        """Let one response arrive, or else one request."""
        if self._said:
            self.source.control.take(self._said.pop(0))
        elif self._asked:
            self._heard(self._asked.pop(0))

    def turn(self) -> None:
        """Let everything arrive, and what that leads to."""
        while self.busy:
            self.step()

    def _heard(self, raw: bytes) -> None:
        request = protos.message(_DISCOVERY + "DeltaDiscoveryRequest").FromString(raw)
        type_ = Type(request.type_url)
        if request.HasField("node"):
            self.node = dict(request.node.metadata)
        if request.HasField("error_detail"):
            self.refusals.append(request.error_detail.message)
        self.sent.update({(type_, name): version for name, version in request.initial_resource_versions.items()})
        for name in request.resource_names_unsubscribe:
            self.subscribed.discard((type_, name))
            self.sent.pop((type_, name), None)
        for name in request.resource_names_subscribe:
            if (type_, name) in self.subscribed:
                self.sent.pop((type_, name), None)  # asked again: sent again
            self.subscribed.add((type_, name))
        self._send(type_, set(request.resource_names_subscribe))

    def push(self, *changed: tuple[Type, str]) -> None:
        """Tell of what changed, as far as it is subscribed to."""
        for type_ in PUSH_ORDER:
            self._send(type_, {name for kind, name in changed if kind is type_ and (type_, name) in self.subscribed})

    def names(self, type_: Type = Type.LISTENER) -> set[str]:
        """What is subscribed to."""
        return {name for kind, name in self.subscribed if kind is type_}

    def hold(self, *types: Type) -> None:
        """Keep back what is asked of these types."""
        self._held = set(types)

    def release(self) -> None:
        """Answer what was kept back."""
        late, self._late, self._held = self._late, [], set()
        self.push(*late)
        self.turn()

    def _send(self, type_: Type, names: set[str]) -> None:
        response = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(type_url=type_.url)
        if type_ in self._held:
            self._late += [(type_, name) for name in sorted(names)]
            return
        for name in sorted(names):
            value = self._value(type_, name)
            if value is None:
                response.removed_resources.append(name)
                self.sent.pop((type_, name), None)
                continue
            body = protos.from_dict(type_.url.rpartition("/")[2], value).SerializeToString(deterministic=True)
            if self.sent.get((type_, name)) != (version := body.hex()):
                self.sent[type_, name] = version
                response.resources.add(name=name, version=version, resource={"type_url": type_.url, "value": body})
        if response.resources or response.removed_resources:
            self._nonce += 1
            response.nonce = str(self._nonce)
            self._said.append(response.SerializeToString())

    def _value(self, type_: Type, name: str) -> Object | None:
        if (type_, name) == (Type.LISTENER, INBOUND):
            return listener(INBOUND, "own", warm=self.warm)
        return self.cluster.resources[type_].get(name)


class Known:
    """A sidecar of `web-1` and what it knows."""

    def __init__(self, directory: Path) -> None:
        mesh = in_mesh(directory)
        self.sidecar = Sidecar(Settings(mesh=mesh), [])
        self.source = MeshSource(self.sidecar, mesh)
        self.now = 0.0
        self.source.discovery._clock = lambda: self.now
        self.cluster = Cluster()
        self.told: list[Any] = []

    def control_plane(self, *warm: str) -> ControlPlane:
        """A control plane comes up, with what it remembers of warm destinations, and the sidecar finds it."""
        made = ControlPlane(self.cluster, self.source, *warm).begin()
        made.turn()
        return made

    def away(self) -> None:
        """The stream is lost."""
        self.source.control.end()

    def want(self, name: str) -> None:
        """The app connects to a destination that is in no table."""
        self.source.discovery.want(name, self.told.append)

    def idle(self, seconds: float = IDLE_SECONDS + 1) -> None:
        """Time passes and is noticed."""
        self.now += seconds
        self.source.discovery.sweep()

    def in_force(self) -> set[str]:
        """Destinations whose tables are in force."""
        return set(self.sidecar.engine.runtime.tables.listeners) - {INBOUND}

    def addresses(self, name: str) -> list[str]:
        """The endpoints a destination has in force."""
        slots = self.sidecar.engine.runtime.tables.clusters[f"of {name}"].all_slots()
        return [slot.address for slot in slots]

    def close(self) -> None:
        self.sidecar.engine.close()
