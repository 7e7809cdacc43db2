"""Envoy itself judges what the control plane builds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.resources.build import Client, build, names
from meshapi import protos
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

ROOT = Path(__file__).resolve().parents[2]
ENVOY = ROOT / ".venv-envoy" / "bin" / "envoy"
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
CLIENT = Client(namespace="shop", pod="web-1", warm=("outbound/10.96.0.2:80",))


def everything() -> Objects:
    """A mesh with one of each: protocols, route kinds, filters, modes."""
    objects = shop()
    objects.apply(
        service("auto", "10.96.0.3", {"port": 9000}),
        service("db", "10.96.0.4", {"name": "tcp-db", "port": 5432}),
        service("calls", "10.96.0.5", {"name": "grpc", "port": 9001}),
        service("secure", "10.96.0.6", {"name": "tls", "port": 443}),
        service("six", "fd00::1", HTTP),
        endpoint_slice("auto", endpoint("web-1", "10.0.0.1"), ports={"": 9000}),
        pod("db-1", "10.0.0.7"),
        endpoint_slice("db", endpoint("db-1", "10.0.0.7"), ports={"tcp-db": 5432}),
        peer_authentication("strict", "STRICT", ("", "Service", "db")),
        peer_authentication("off", "DISABLE", ("apps", "Deployment", "nobody")),
        route("everything", *rules()),
        route(
            "calls",
            {"matches": [{"method": {"service": "a.B", "method": "C"}}], "backendRefs": [to("calls", 9001)]},
            kind="GRPCRoute",
            parent="calls",
        ),
        route("split", {"backendRefs": [to("db", 5432, 3), to("auto", 9000)]}, kind="TCPRoute", parent="db"),
        route(
            "names",
            {"backendRefs": [to("secure", 443)]},
            kind="TLSRoute",
            parent="secure",
            hostnames=["a.example.com", "*.b.example.com"],
        ),
        route("mine", {"backendRefs": [to("web", namespace="shop")]}, namespace="other"),
    )
    return objects


def rules() -> list[Object]:
    """Every match and filter."""
    headers = {"set": [{"name": "a", "value": "100%"}], "add": [{"name": "b", "value": "2"}], "remove": ["c"]}
    return [
        {
            "matches": [
                {
                    "path": {"type": "RegularExpression", "value": "/v[0-9]+/.*"},
                    "method": "POST",
                    "headers": [{"name": "x", "type": "RegularExpression", "value": "a+"}],
                    "queryParams": [{"name": "q", "value": "1"}],
                }
            ],
            "filters": [
                {"type": "RequestHeaderModifier", "requestHeaderModifier": headers},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers},
                {"type": "RequestMirror", "requestMirror": {"backendRef": to("api"), "percent": 12}},
            ],
            "backendRefs": [
                to("web", weight=9, filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": headers}]),
                to("nobody"),
            ],
            "timeouts": {"request": "1s", "backendRequest": "300ms"},
            "retry": {"codes": [503], "attempts": 2, "backoff": "10ms"},
        },
        {"matches": [{"path": {"type": "Exact", "value": "/one"}}], "backendRefs": []},
        *(
            {
                "matches": [{"path": {"type": "PathPrefix", "value": match}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "h", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}}}],
                "backendRefs": [to("web")],
            }
            for match, value in (("/a", "/b/"), ("/c", "/"), ("/", "/d"))
        ),
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/full"}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}}],
            "backendRefs": [to("web")],
        },
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/redirect"}}],
            "filters": [
                {
                    "type": "RequestRedirect",
                    "requestRedirect": {"scheme": "https", "hostname": "h", "statusCode": 301, "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}},
                }
            ],
        },
    ]  # fmt: skip


def message(snapshot: MeshSnapshot, type_: Type, name: str) -> dict[str, Any]:
    """A built resource as JSON."""
    built = build(snapshot, type_, name, CLIENT)
    assert built is not None, name
    return protos.to_dict(protos.message(type_.url.rpartition("/")[2]).FromString(built.body))


def as_listener(index: int, routes: dict[str, Any]) -> dict[str, Any]:
    """A bound listener around a route configuration, for Envoy reads those only from a stream."""
    manager = {
        "@type": HCM,
        "stat_prefix": "x",
        "route_config": {**routes, "validate_clusters": False},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    return {
        "name": f"routes-{index}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + index}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def bootstrap(snapshot: MeshSnapshot, certificates: tuple[str, str]) -> dict[str, Any]:
    """Everything a wildcard client gets, as static resources."""
    found = {type_: [message(snapshot, type_, n) for n in names(snapshot, type_, CLIENT)] for type_ in Type}
    chain, key = certificates
    ads = {
        "name": "ads",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "ads"},
        "http2_protocol_options": {},
    }
    return {
        "node": {"id": "n", "cluster": "c"},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}
        },
        "static_resources": {
            "listeners": found[Type.LISTENER] + [as_listener(i, r) for i, r in enumerate(found[Type.ROUTES])],
            "clusters": [ads, *found[Type.CLUSTER]],
            "secrets": [
                {"name": "identity", "tls_certificate": {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}}
            ],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def snapshot() -> MeshSnapshot:
    made = compile_mesh(ingest(everything()), roots=b"roots")
    assert made.problems() == []
    assert made.user_problems == ()
    return made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A throw-away certificate and key."""
    where = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
         "-keyout", str(where / "key"), "-out", str(where / "chain")],
        check=True, capture_output=True,
    )  # fmt: skip
    return (where / "chain").read_text(), (where / "key").read_text()


def test_envoy_accepts_everything_that_is_built(
    snapshot: MeshSnapshot, certificates: tuple[str, str], tmp_path: Path
) -> None:
    """`envoy --mode validate` has no objection to a mesh with one of everything."""
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(bootstrap(snapshot, certificates)))
    done = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", str(config), "-l", "warning"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stdout


def test_every_name_a_wildcard_client_is_told_can_be_built(snapshot: MeshSnapshot) -> None:
    """`names` and `build` agree, and versions are stable from build to build."""
    for type_ in Type:
        for name in names(snapshot, type_, CLIENT):
            first, second = build(snapshot, type_, name, CLIENT), build(snapshot, type_, name, CLIENT)
            assert first is not None
            assert first == second
