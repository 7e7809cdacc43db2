"""Envoy's messages into nouns: what is read, and what is refused because ignoring it would be unsafe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane import config as nouns
from dataplane.xds.decode import Noun, RefusedError, decode, decode_message
from dataplane.xds.file import BadFileError, load, parse
from meshapi import protos
from meshapi.xds import Type

EXTENSIONS = "type.googleapis.com/envoy.extensions."
ROUTER = {"name": "router", "typed_config": {"@type": EXTENSIONS + "filters.http.router.v3.Router"}}
RBAC = {"name": "rbac", "typed_config": {"@type": EXTENSIONS + "filters.http.rbac.v3.RBAC"}}
FAULT = {"name": "fault", "typed_config": {"@type": EXTENSIONS + "filters.http.fault.v3.HTTPFault"}}
Object = dict[str, Any]


def read(type_: Type, value: Object) -> Any:
    return decode_message(type_, protos.from_dict(type_.url.rpartition("/")[2], value))


def manager(**more: Any) -> Object:
    return {
        "name": "http",
        "typed_config": {
            "@type": EXTENSIONS + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "x",
            **({} if {"rds", "scoped_routes"} & more.keys() else {"route_config": {"name": "r"}}),
            "http_filters": [ROUTER],
            **more,
        },
    }


def tcp(**more: Any) -> Object:
    kind = EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy"
    return {"name": "tcp", "typed_config": {"@type": kind, "stat_prefix": "x", "cluster": "c", **more}}


def listener(*filters: Object, **more: Any) -> Object:
    chain: Object = {"filters": list(filters) or [manager()], **more.pop("chain", {})}
    return {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
        "filter_chains": [chain],
        **more,
    }


def table(match: Object, **more: Any) -> Object:
    one = {"match": match, **(more or {"route": {"cluster": "c"}})}
    return {"name": "t", "virtual_hosts": [{"name": "h", "domains": ["*"], "routes": [one]}]}


def cluster(**more: Any) -> Object:
    return {"name": "c", "type": "STATIC", **more}


def tls(kind: str, **common: Any) -> Object:
    name = EXTENSIONS + f"transport_sockets.tls.v3.{kind}TlsContext"
    return {"name": "tls", "typed_config": {"@type": name, "common_tls_context": common}}


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        (Type.LISTENER, listener(manager(http_filters=[FAULT, ROUTER])), "HTTP filter fault"),
        (Type.LISTENER, listener(tcp(), tcp()), "one network filter is needed"),
        (Type.LISTENER, listener({"name": "n", "typed_config": RBAC["typed_config"]}), "network filter n"),
        (Type.LISTENER, listener(manager(scoped_routes={"name": "x", "scope_key_builder": {}, "scoped_rds": {}})), "scoped_routes"),
        (Type.LISTENER, listener(manager(codec_type="HTTP3")), "HTTP/3"),
        (Type.LISTENER, listener(chain={"filter_chain_match": {"source_ports": [1]}}), "source_ports is not supported"),
        (Type.LISTENER, listener(chain={"filter_chain_match": {"transport_protocol": "quic"}}), "'quic'"),
        (Type.LISTENER, {**listener(), "filter_chains": []}, "no filter chain"),
        (Type.LISTENER, {**listener(), "address": {"pipe": {"path": "/x"}}}, "socket addresses"),
        (Type.LISTENER, {**listener(), "listener_filters": [{"name": "pp", "typed_config": ROUTER["typed_config"]}]}, "listener filter pp"),
        (Type.LISTENER, listener(tcp(cluster="")), "leads to no cluster"),
        (Type.ROUTES, table({"prefix": "/", "case_sensitive": False}), "with their case"),
        (Type.ROUTES, table({"safe_regex": {"regex": "("}}), "no regular expression"),
        (Type.ROUTES, table({"safe_regex": {"regex": "/(?!a)"}}), "as RE2 reads them: invalid perl operator"),
        (Type.ROUTES, table({"safe_regex": {"regex": "\\u0041"}}), "no regular expression"),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c", "regex_rewrite": {"pattern": {"regex": "a"}, "substitution": "\\1"}}), "no replacement"),
        (Type.ROUTES, table({"connect_matcher": {}}), "connect_matcher"),
        (Type.ROUTES, table({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 1}}}), "runtime_fraction"),
        (Type.ROUTES, table({"prefix": "/", "headers": [{"name": "x", "range_match": {"start": 1, "end": 2}}]}), "range_match"),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster_header": "x"}), "cluster_header"),
        (Type.ROUTES, table({"prefix": "/"}, route={"weighted_clusters": {"clusters": [{"name": "a", "weight": 0}]}}), "add up to nothing"),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c", "host_rewrite_header": "x"}), "host_rewrite_header"),
        (Type.ROUTES, table({"prefix": "/"}, filter_action={}), "filter_action"),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c"}, typed_per_filter_config={"x": ROUTER["typed_config"]}), "typed_per_filter"),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c"}, request_headers_to_add=[{"header": {"key": "a", "value": "%REQ(x)%"}}]), "command"),
        (Type.ROUTES, {"name": "t", "virtual_hosts": [{"name": "h", "domains": ["*"], "require_tls": "ALL"}]}, "require_tls"),
        (Type.CLUSTER, cluster(type="STRICT_DNS"), "its type is not supported"),
        (Type.CLUSTER, cluster(lb_policy="RING_HASH"), "load balancing by RING_HASH"),
        (Type.CLUSTER, cluster(transport_socket=tls("Upstream", validation_context={"verify_certificate_hash": ["x"]})), "verify_certificate_hash"),
        (Type.CLUSTER, cluster(transport_socket=tls("Upstream", validation_context={"trust_chain_verification": "ACCEPT_UNTRUSTED"})), "trust_chain_verification"),
        (Type.CLUSTER, cluster(transport_socket_matches=[{"name": "m", "match": {"a": "b"}, "transport_socket": tls("Upstream")}]), "match by a"),
        (Type.ENDPOINTS, {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "localhost", "port_value": 1}}}}]}]}, "'localhost' is no IP"),
        (Type.ENDPOINTS, {"cluster_name": "c", "policy": {"drop_overloads": [{"category": "x"}]}}, "policy is not supported"),
        (Type.SECRET, {"name": "s", "validation_context": {}}, "trusted_ca is missing"),
        (Type.SECRET, {"name": "s", "tls_certificate": {"certificate_chain": {"filename": "/x"}}}, "must be inline"),
        (Type.SECRET, {"name": "s", "generic_secret": {}}, "generic_secret"),
    ],
)  # fmt: skip
def test_resource_that_cannot_be_followed_is_refused_with_its_name(type_: Type, value: Object, said: str) -> None:
    """One sentence: where, and what."""
    with pytest.raises(RefusedError, match=said) as refused:
        read(type_, value)
    assert value.get("name", value.get("cluster_name")) in str(refused.value)


@pytest.mark.parametrize("broken", ["\r", "\n", "\0", "1\r\nHost: evil\r\n\r\nGET / HTTP/1.1\r\nHost: h"])
def test_header_that_would_end_its_line_is_refused(broken: str) -> None:
    """In a name, a value, or a name to remove, of requests and answers: it would be read as more headers, or another request."""
    for side in ("request", "response"):
        for change in (
            {f"{side}_headers_to_add": [{"header": {"key": "x-a", "value": broken}}]},
            {f"{side}_headers_to_add": [{"header": {"key": f"x{broken}", "value": "1"}}]},
            {f"{side}_headers_to_remove": [f"x{broken}"]},
        ):
            with pytest.raises(RefusedError, match=r"route configuration t.*(CR, LF or NUL|is no header name)"):
                read(Type.ROUTES, {**table({"prefix": "/"}), **change})


@pytest.mark.parametrize(
    "action",
    [
        {"route": {"cluster": "c", "prefix_rewrite": "/a HTTP/1.1\r\nx: y"}},
        {"route": {"cluster": "c", "host_rewrite_literal": "a\nb"}},
        {"route": {"cluster": "c", "regex_rewrite": {"pattern": {"regex": "a"}, "substitution": "\r"}}},
        {"redirect": {"host_redirect": "a\rb"}},
        {"redirect": {"path_redirect": "/a b"}},
        {"redirect": {"prefix_rewrite": "/\0"}},
    ],
)
def test_target_that_would_end_its_line_is_refused(action: Object) -> None:
    """What goes into a request line or a `location` has no spaces and no controls."""
    with pytest.raises(RefusedError, match="a space or a control character"):
        read(Type.ROUTES, table({"prefix": "/"}, **action))


@pytest.mark.parametrize("status", [0, 100, 199, 600])
def test_answer_of_a_route_has_the_status_of_an_answer(status: int) -> None:
    """As Envoy's own schema has it."""
    with pytest.raises(RefusedError, match=f"{status} is no status"):
        read(Type.ROUTES, table({"prefix": "/"}, direct_response={"status": status}))


def test_filter_that_is_optional_or_off_is_passed_over() -> None:
    """As Envoy does with filters it does not know."""
    filters = [{**FAULT, "is_optional": True}, {**RBAC, "disabled": True}, ROUTER]
    read(Type.LISTENER, listener(manager(http_filters=filters)))


def test_listener_is_read_with_envoys_defaults() -> None:
    """A file written for Envoy means the same here."""
    found: nouns.Listener = read(
        Type.LISTENER, listener(manager(rds={"route_config_name": "r", "config_source": {"ads": {}}}))
    )

    assert (found.bind, found.detect, found.inbound, found.detect_timeout) == (True, False, False, 15.0)
    http = found.chains[0].filter
    assert isinstance(http, nouns.HttpFilter)
    assert http.route_name == "r"
    assert http.timeouts == nouns.HttpTimeouts()
    assert found.chains[0].name == "chain-0"


def test_streams_of_a_clients_connection_may_be_bounded() -> None:
    """The HTTP/2 options of the connection manager; without a word the sidecar's own bound holds."""
    silent, bounded = manager(), manager(http2_protocol_options={"max_concurrent_streams": 7})
    found = [read(Type.LISTENER, listener(one)).chains[0].filter.max_streams for one in (silent, bounded)]

    assert found == [0, 7]


def test_route_without_timeout_has_envoys() -> None:
    """15 s where nothing is said, none where 0 s is said."""
    silent: nouns.RouteTable = read(Type.ROUTES, table({"prefix": "/"}))
    none: nouns.RouteTable = read(Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c", "timeout": "0s"}))
    actions = [found.hosts[0].routes[0].action for found in (silent, none)]

    assert [a.timeout for a in actions if isinstance(a, nouns.Forward)] == [15.0, 0.0]
    assert [a.not_found_status for a in actions if isinstance(a, nouns.Forward)] == [503, 503]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"string_match": {"exact": "a", "ignore_case": True}}, nouns.StringMatch(exact="a", ignore_case=True)),
        ({"string_match": {"prefix": "a"}, "invert_match": True}, nouns.StringMatch(prefix="a", invert=True)),
        ({"string_match": {"suffix": "a"}}, nouns.StringMatch(suffix="a")),
        ({"string_match": {"contains": "a"}}, nouns.StringMatch(contains="a")),
        ({"present_match": True}, nouns.StringMatch(present=True)),
        ({"present_match": False}, nouns.StringMatch(present=True, invert=True)),
        ({}, nouns.StringMatch(present=True)),
    ],
)
def test_header_match_is_read(header: Object, expected: nouns.StringMatch) -> None:
    """Every form the sidecar can follow."""
    found: nouns.RouteTable = read(Type.ROUTES, table({"prefix": "/", "headers": [{"name": "X-A", **header}]}))

    assert found.hosts[0].routes[0].match.headers == (("x-a", expected),)


def test_virtual_host_headers_and_retries_are_its_routes() -> None:
    """A route's own come first; a route's own retry policy replaces the host's."""
    value = table({"prefix": "/"})
    value["virtual_hosts"][0] |= {
        "request_headers_to_add": [
            {"header": {"key": "a", "value": "host"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
        "retry_policy": {"retry_on": "5xx, reset", "num_retries": 2},
    }
    value["virtual_hosts"][0]["routes"][0]["request_headers_to_add"] = [{"header": {"key": "a", "value": "50%%"}}]
    found: nouns.Route = read(Type.ROUTES, value).hosts[0].routes[0]

    assert found.request_headers == nouns.HeaderChange(set=(("a", "host"),), add=(("a", "50%"),))
    assert isinstance(found.action, nouns.Forward)
    assert found.action.retry == nouns.RetryPolicy(on=frozenset({"5xx", "reset"}), attempts=2)


def test_unhealthy_endpoints_are_left_out() -> None:
    """Draining ones as well."""
    ends = [
        {
            "health_status": status,
            "endpoint": {"address": {"socket_address": {"address": f"10.0.0.{i}", "port_value": 1}}},
        }
        for i, status in enumerate(["HEALTHY", "UNHEALTHY", "DRAINING", "UNKNOWN"])
    ]
    found: nouns.Endpoints = read(Type.ENDPOINTS, {"cluster_name": "c", "endpoints": [{"lb_endpoints": ends}]})

    assert [e.address for e in found.endpoints] == ["10.0.0.0", "10.0.0.3"]


def test_bytes_that_are_no_resource_are_refused() -> None:
    """Garbage, a name that is not its own, and a broken extension inside."""
    good = protos.from_dict("envoy.config.cluster.v3.Cluster", cluster())
    broken = protos.from_dict("envoy.config.listener.v3.Listener", listener())
    broken.filter_chains[0].filters[0].typed_config.value = b"\xff\xff"
    with pytest.raises(RefusedError, match="no Cluster"):
        decode(Type.CLUSTER, "c", b"\xff\xff")
    with pytest.raises(RefusedError, match="calls itself 'c'"):
        decode(Type.CLUSTER, "d", good.SerializeToString())
    with pytest.raises(RefusedError, match="cannot be read"):
        decode(Type.LISTENER, "l", broken.SerializeToString())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(Type)), st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_refusal(type_: Type, raw: bytes) -> None:
    """A control plane gone mad costs a NACK."""
    try:
        found: Noun = decode(type_, "x", raw)
    except RefusedError:
        return
    assert found.name == "x"


@pytest.mark.parametrize(
    ("type_", "raw", "field"),
    [(Type.CLUSTER, b"\x10\x05", "type"), (Type.CLUSTER, b"\x30\x63", "lb_policy")],
)
def test_enum_value_of_newer_protos_is_refused(type_: Type, raw: bytes, field: str) -> None:
    """By name and number."""
    with pytest.raises(RefusedError, match=field):
        decode(type_, "x", raw)


FILE = """
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            name: local
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app, timeout: 3s}}]}]
          http_filters:
          - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 0.25s
    load_assignment:
      cluster_name: app
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}}]}]
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
"""


def test_envoy_bootstrap_file_is_read(tmp_path: Path) -> None:
    """The same file serves both; what is not a static resource is Envoy's own business."""
    (tmp_path / "envoy.yaml").write_text(FILE)
    found = load(tmp_path / "envoy.yaml")

    assert found.listeners["in"].port == 10000
    assert found.clusters["app"].connect_timeout == 0.25
    assert found.endpoints["app"].endpoints == (nouns.Endpoint(address="127.0.0.1", port=8080),)


def test_certificates_named_by_file_are_read_once(tmp_path: Path) -> None:
    """Relative to the configuration file."""
    (tmp_path / "chain.pem").write_text("chain")
    (tmp_path / "key.pem").write_text("key")
    text = """
static_resources:
  secrets:
  - {name: identity, tls_certificate: {certificate_chain: {filename: chain.pem}, private_key: {filename: key.pem}}}
"""
    assert parse(text, tmp_path).secrets["identity"] == nouns.Secret(name="identity", certificate=b"chain", key=b"key")
    with pytest.raises(BadFileError, match=r"gone\.pem cannot be read"):
        parse(text.replace("chain.pem", "gone.pem"), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "neither YAML nor JSON"),
        ("a: 1", "no static_resources"),
        ("static_resources: {clusters: [{nome: x}]}", "nome"),
        ("static_resources: {clusters: [{name: x, type: LOGICAL_DNS}]}", "cluster x: its type is not supported"),
        (
            "static_resources: {clusters: [{name: x, type: STATIC, health_checks: [{timeout: 1s}]}]}",
            "cluster x: health_checks is not supported",
        ),
        ("static_resources: {clusters: [{name: x, type: STATIC, health_checks: [{zeit: 1s}]}]}", "zeit"),
    ],
)
def test_bad_file_is_refused_in_a_sentence(text: str, said: str) -> None:
    """What is wrong, and where."""
    with pytest.raises(BadFileError, match=said):
        parse(text, Path())
