"""What the control plane writes to a sidecar, as one file a level of the contract.

What a release wrote is held against the next one's sidecar, and what the next one writes to an older sidecar against it.
`python -m tests.support.contract` writes the file of this level (`meshapi.xds.CONTRACT`); those of levels before are never written again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.resources.build import Client, build, names
from meshapi import protos, xds
from meshapi.xds import Type
from tests.support.meshobjects import (
    HTTP,
    Object,
    Objects,
    endpoint,
    endpoint_slice,
    peer_authentication,
    pod,
    route,
    service,
    shop,
    to,
)

FILES = Path(__file__).resolve().parents[1] / "contract"
WEB = {"namespace": "shop", "pod": "web-1", "warm": ("outbound/10.96.0.1:80",)}


def _filter(kind: str, **value: Any) -> Object:
    return {"type": kind, kind[0].lower() + kind[1:]: value}


def _headers(kind: str) -> Object:
    return _filter(kind, set=[{"name": "a", "value": "1%"}], add=[{"name": "b", "value": "2"}], remove=["c"])


def _http_rules() -> list[Object]:
    path, headers = {"type": "RegularExpression", "value": "/r/[0-9]+"}, [{"name": "h", "value": "v"}]
    return [
        {"matches": [{"path": path, "headers": headers, "method": "GET"}], "backendRefs": [to("web"), to("gone")]},
        {
            "matches": [{"path": {"type": "Exact", "value": "/e"}, "queryParams": [{"name": "q", "value": "1"}]}],
            "filters": [_headers("RequestHeaderModifier"), _headers("ResponseHeaderModifier")],
            "backendRefs": [to("web", weight=3, filters=[_headers("RequestHeaderModifier")]), to("api", weight=1)],
            "timeouts": {"request": "3s", "backendRequest": "1s"},
            "retry": {"codes": [503], "attempts": 2, "backoff": "100ms"},
        },
        {
            "matches": [{"path": {"value": "/p"}}],
            "filters": [
                _filter("URLRewrite", hostname="x", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/q"}),
                _filter("RequestMirror", backendRef=to("api"), percent=50),
            ],
            "backendRefs": [to("web")],
        },
        {
            "matches": [{"path": {"value": "/full"}}],
            "filters": [_filter("URLRewrite", path={"type": "ReplaceFullPath", "replaceFullPath": "/new"})],
            "backendRefs": [to("web")],
        },
        {
            "matches": [{"path": {"value": "/away"}}],
            "filters": [
                _filter(
                    "RequestRedirect",
                    scheme="https",
                    hostname="y",
                    port=8443,
                    statusCode=301,
                    path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/z"},
                )
            ],
        },
        {"matches": [{"path": {"value": "/nothing"}}]},
        {"matches": [{"path": {"value": "/bad"}}], "filters": [{"type": "CORS"}]},
    ]


def world() -> MeshSnapshot:
    """A mesh in which everything is used that the control plane can write."""
    objects: Objects = shop()
    ports = {"grpc": 90, "tcp-x": 91, "what": 92, "tls-x": 93, "http2": 94}
    objects.apply(
        service("all", "10.96.0.9", HTTP, *({"name": name, "port": port} for name, port in ports.items())),
        endpoint_slice("all", endpoint("web-1", "10.0.0.1"), ports={"http": 8080, **ports}),
        route("http", *_http_rules()),
        route("own", {"backendRefs": [to("api")]}, namespace="shop", parents=[_parent("api")]),
        route("calls", {"matches": [{"method": {"service": "a.B", "method": "C"}}, {"method": {"method": "D"}}], "backendRefs": [to("all", 90)]}, kind="GRPCRoute", parents=[_parent("all", 90)]),
        route("bytes", {"backendRefs": [to("all", 91, weight=1), to("api", weight=2)]}, kind="TCPRoute", parents=[_parent("all", 91)]),
        route("names", {"backendRefs": [to("all", 93)]}, kind="TLSRoute", parents=[_parent("all", 93)], hostnames=["a.io", "*.b.io"]),
        pod("strict-1", "10.0.0.7"),
        peer_authentication("strict", "STRICT", ("", "Pod", "strict-1")),
        peer_authentication("off", "PERMISSIVE", ports=[{"port": 8080, "mtls": {"mode": "DISABLE"}}]),
    )  # fmt: skip
    return compile_mesh(ingest(objects), roots=b"roots")


def _parent(name: str, port: int = 0) -> Object:
    return {"group": "", "kind": "Service", "name": name, "namespace": "shop", **({"port": port} if port else {})}


def written(**client: Any) -> dict[str, Object]:
    """Build everything a sidecar can ask for, by type and name, as JSON."""
    snapshot = world()
    one = Client(**WEB, **client)
    found = {}
    for type_ in Type:
        extra = ["pod/shop/api-1:8080"] if type_ in {Type.CLUSTER, Type.ENDPOINTS} else []
        extra += ["outbound/10.0.0.2:8080"] if type_ is Type.LISTENER else []
        for name in [*names(snapshot, type_, one), *extra]:
            resource = build(snapshot, type_, name, one)
            assert resource is not None, name
            message = protos.message(type_.url.rpartition("/")[2]).FromString(resource.body)
            found[f"{type_.name} {name}"] = protos.to_dict(message)
    return found


def fields(value: Any) -> set[str]:
    """Name every field that is set, by its full name; also inside extensions."""
    found = set()
    for field, inside in value.ListFields():
        found.add(field.full_name)
        if field.message_type is None or field.message_type.full_name.startswith("google.protobuf.Struct"):
            continue
        if value.DESCRIPTOR.full_name == "google.protobuf.Any":
            continue
        if field.message_type.GetOptions().map_entry:
            several = list(inside.values())
        else:
            several = [inside] if hasattr(inside, "ListFields") else list(inside)
        for one in several:
            packed = hasattr(one, "DESCRIPTOR") and one.DESCRIPTOR.full_name == "google.protobuf.Any"
            found |= fields(protos.unpack(one)) if packed else (fields(one) if hasattr(one, "ListFields") else set())
    return found


def messages(resources: dict[str, Object]) -> dict[tuple[Type, str], Any]:
    """Make messages of what a file holds."""
    made = {}
    for key, value in resources.items():
        kind, _, name = key.partition(" ")
        made[Type[kind], name] = protos.from_dict(Type[kind].url.rpartition("/")[2], value)
    return made


def level(number: int) -> dict[tuple[Type, str], Any]:
    """Read what the control plane of a level wrote."""
    return messages(json.loads((FILES / f"level-{number}.json").read_text()))


def main() -> None:
    """Write the file of this level."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else xds.CONTRACT
    (FILES / f"level-{number}.json").write_text(json.dumps(written(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
