"""More than a sidecar may hold: the discovery with a true session under it, and each letting go a change that is looked at in turn."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from dataplane.discovery import Discovery
from dataplane.finding import KNOWN, Finding
from dataplane.telemetry.metrics import Counter
from dataplane.xds.session import Session
from meshapi import protos
from meshapi.xds import Type


class Timer:
    def cancel(self) -> None:
        pass


class Mesh:
    """What `app` puts between the two, and a control plane by hand."""

    def __init__(self, **most: Any) -> None:
        self.session = Session("shop", "web-1")
        self.session.connected()
        self.open: set[str] = set()
        self.asked: list[int] = []
        """By change: how many names were asked for or let go."""
        self.told: list[Finding] = []
        self.overflow = Counter()
        self.discovery = Discovery(self, lambda: 0.0, self, lambda: self.open, self.overflow)  # type: ignore[arg-type]
        for name, value in most.items():
            setattr(self.discovery, name, value)

    def after(self, _seconds: float, _callback: Any) -> Timer:
        return Timer()

    def flush(self) -> None:
        for raw in self.session.pending():
            request = protos.message("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString(raw)
            self.asked.append(len(request.resource_names_subscribe) + len(request.resource_names_unsubscribe))

    def want(self, name: str) -> None:
        self.session.want(name)
        self.flush()

    def drop(self, names: AbstractSet[str]) -> None:
        self.session.drop(names)
        self.discovery.changed()
        self.flush()

    def find(self, name: str) -> Finding:
        return self.session.find(name)

    def held(self) -> tuple[int, int]:
        return self.session.held()

    def leading(self, more_than: int) -> Mapping[str, tuple[int, int]]:
        return self.session.leading(more_than)

    def send(self, type_: Type, *resources: dict[str, Any]) -> None:
        response = protos.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")(type_url=type_.url, nonce="1")
        for value in resources:
            body = protos.from_dict(type_.url.rpartition("/")[2], value).SerializeToString()
            response.resources.add(name=value["name"], version="1", resource={"type_url": type_.url, "value": body})
        self.session.receive(response.SerializeToString())
        self.discovery.changed()
        self.flush()


def listener(name: str, routes: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters."
    manager = {
        "@type": kind + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "rds": {"route_config_name": routes, "config_source": {"ads": {}}},
        "http_filters": [{"name": "router", "typed_config": {"@type": kind + "http.router.v3.Router"}}],
    }
    address = {"socket_address": {"address": "10.96.0.1", "port_value": 80}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def table(name: str, clusters: int) -> dict[str, Any]:
    rows = [{"match": {"prefix": f"/{number}"}, "route": {"cluster": f"{name}-{number}"}} for number in range(clusters)]
    return {"name": name, "virtual_hosts": [{"name": "*", "domains": ["*"], "routes": rows}]}


def test_one_route_table_beyond_all_bounds_takes_no_other_destination_with_it() -> None:
    """None of the names it leads to is even asked for; it passes as what the mesh does not know."""
    mesh = Mesh(most_held=(2000, 1000))
    others = [f"d{number}" for number in range(50)]
    mesh.discovery.want("hog", mesh.told.append)
    for name in others:
        mesh.discovery.want(name, mesh.told.append)
    mesh.send(Type.LISTENER, *(listener(name, f"r-{name}") for name in ("hog", *others)))
    mesh.send(Type.ROUTES, *(table(f"r-{name}", 0) for name in others))
    assert [mesh.find(name) for name in others] == [KNOWN] * 50
    mesh.asked.clear()
    mesh.open = {"hog"}
    mesh.send(Type.ROUTES, table("r-hog", 1001))

    assert mesh.discovery.names == set(others)
    assert [mesh.find(name) for name in others] == [KNOWN] * 50
    assert sum(mesh.asked) <= 4
    assert mesh.overflow.value == 1


def test_thousands_of_destinations_are_let_go_in_one_change() -> None:
    """However many rounds that takes: none is within another, so the stack does not grow with them."""
    mesh = Mesh(most_held=(90_000, 45_000))
    mesh.flush = lambda: None  # type: ignore[method-assign]
    for number in range(20_000):
        mesh.discovery.want(f"d{number}", mesh.told.append)
    mesh.discovery.most_held = (5, 5)
    mesh.discovery.changed()

    assert mesh.session.held() <= (5, 5)
    assert len(mesh.told) == 20_000 - len(mesh.discovery.names)
    assert mesh.overflow.value == len(mesh.told)
