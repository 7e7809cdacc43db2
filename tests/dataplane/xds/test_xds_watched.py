"""What was not read of a message is known by the machine: by path, in lists, maps and extensions."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.xds.decode import Notes, RefusedError, decode, decode_message
from dataplane.xds.ignored import IGNORED
from dataplane.xds.watched import NEWER, opened, pass_over, unread, watch
from meshapi import protos
from meshapi.xds import Type
from tests.dataplane.xds.test_xds_decode import EXTENSIONS, Object, cluster, listener, manager, read, table, tcp, tls

ROUTING = "virtual_hosts[0].routes[0]"
MANAGER = "filter_chains[0].filters[0].typed_config"


def message(kind: str, value: Object) -> Any:
    return watch(protos.from_dict(kind, value))


def paths(watched: Any) -> list[str]:
    return [one.path for one in unread(watched)]


def test_what_is_set_and_not_read_is_unread() -> None:
    """A field that is not set is nothing to read; what is asked for and not there is no field."""
    one = message("envoy.config.cluster.v3.Cluster", {"name": "c", "alt_stat_name": "a", "connect_timeout": "1s"})
    assert paths(one) == ["name", "connect_timeout", "alt_stat_name"]

    assert (one.name, one.connect_timeout.seconds, one.close_connections_on_host_health_failure) == ("c", 1, False)

    assert paths(one) == ["alt_stat_name"]


def test_to_ask_whether_a_message_is_there_is_not_to_read_it() -> None:
    """The empty one is read by that; what is inside another is not."""
    one = message(
        "envoy.config.cluster.v3.Cluster", {"common_lb_config": {}, "upstream_bind_config": {"freebind": True}}
    )

    assert one.HasField("common_lb_config")
    assert one.HasField("upstream_bind_config")
    assert not one.HasField("metadata")

    assert paths(one) == ["upstream_bind_config.freebind"]


def test_lists_and_maps_are_read_one_by_one() -> None:
    """By index, and by key."""
    one = message(
        "envoy.config.rbac.v3.RBAC",
        {"policies": {"a": {"permissions": [{"any": True}]}, "b": {"principals": [{"any": True}, {"any": True}]}}},
    )
    assert next(rule.any for rule in one.policies["b"].principals)

    assert paths(one) == ["policies[a]", "policies[b].principals[1].any"]
    assert one.policies["a"].permissions
    assert paths(one) == ["policies[a].permissions[0].any", "policies[b].principals[1].any"]


def test_extension_is_read_inside() -> None:
    """One that was not opened is unread as a whole, one that was passed over is not."""
    value = {
        "name": "x",
        "typed_config": {"@type": EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy", "cluster": "c"},
    }
    shut, open_, passed = (message("envoy.config.listener.v3.Filter", value) for _ in range(3))
    for one in (shut, open_, passed):
        assert one.name == "x"
    assert shut.typed_config.type_url
    content = opened(open_.typed_config, lambda: protos.unpack(open_.typed_config))
    assert opened(open_.typed_config, lambda: None) is content
    pass_over(passed, "typed_config")

    assert [paths(one) for one in (shut, open_, passed)] == [["typed_config"], ["typed_config.cluster"], []]


@pytest.mark.parametrize(
    ("type_", "value", "path"),
    [
        (Type.CLUSTER, cluster(outlier_detection={"consecutive_5xx": 1}), "outlier_detection"),
        (Type.CLUSTER, cluster(health_checks=[{"timeout": "1s", "interval": "1s"}]), "health_checks"),
        (Type.CLUSTER, cluster(lb_policy="LEAST_REQUEST", least_request_lb_config={"slow_start_config": {}}), "least_request_lb_config"),
        (Type.CLUSTER, cluster(common_lb_config={"locality_weighted_lb_config": {}}), "common_lb_config"),
        (Type.CLUSTER, cluster(upstream_bind_config={"freebind": True}), "upstream_bind_config"),
        (Type.CLUSTER, cluster(circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]}), "circuit_breakers.per_host_thresholds"),
        (Type.CLUSTER, cluster(transport_socket=tls("Upstream", key_log={"path": "/x"})), "transport_socket.typed_config.common_tls_context.key_log"),
        (Type.ENDPOINTS, {"cluster_name": "c", "policy": {"overprovisioning_factor": 1}}, "policy"),
        *(
            (Type.LISTENER, listener(manager(**{field: value})), f"{MANAGER}.{field}")
            for field, value in (
                ("tracing", {}),
                ("local_reply_config", {}),
                ("access_log", [{"name": "x"}]),
                ("forward_client_cert_details", "SANITIZE_SET"),
                ("strip_matching_host_port", True),
                ("original_ip_detection_extensions", [{"name": "x"}]),
            )
        ),
        (Type.LISTENER, listener(tcp(hash_policy=[{"source_ip": {}}])), f"{MANAGER}.hash_policy"),
        *(
            (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c", field: value}), f"{ROUTING}.route.{field}")
            for field, value in (
                ("hash_policy", [{"header": {"header_name": "x"}}]),
                ("priority", "HIGH"),
                ("auto_host_rewrite", True),
                ("append_x_forwarded_host", True),
                ("max_grpc_timeout", "1s"),
                ("hedge_policy", {"hedge_on_per_try_timeout": True}),
            )
        ),
        (Type.ROUTES, table({"prefix": "/"}, route={"cluster": "c"}, tracing={}), f"{ROUTING}.tracing"),
    ],
)  # fmt: skip
def test_field_nobody_reads_is_refused_by_its_path(type_: Type, value: Object, path: str) -> None:
    """Accepted it would be a promise nobody keeps."""
    with pytest.raises(RefusedError) as refused:
        read(type_, value)

    assert str(refused.value).partition(": ")[2] == f"{path} is not supported"


def test_refusal_names_some_of_many_fields() -> None:
    """The first five."""
    fields = (
        "tracing",
        "local_reply_config",
        "internal_address_config",
        "request_id_extension",
        "http3_protocol_options",
    )
    with pytest.raises(RefusedError, match=r"typed_config\.tracing.*, \.\.\. are not supported"):
        read(
            Type.LISTENER,
            listener(
                manager(
                    **{field: {} for field in fields},
                    merge_slashes=True,
                    represent_ipv4_remote_address_as_ipv4_mapped_ipv6=True,
                )
            ),
        )


def assignment(endpoint: Object | None = None, **more: Any) -> Object:
    place = {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 1, **more.pop("socket", {})}}}
    return {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {**place, **(endpoint or {})}, **more}]}]}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (assignment({"hostname": "x"}), "endpoint.hostname"),
        (assignment({"health_check_config": {"port_value": 1}}), "endpoint.health_check_config"),
        (assignment(socket={"resolver_name": "x"}), "endpoint.address.socket_address.resolver_name"),
        (assignment(socket={"protocol": "UDP"}), "endpoint.address.socket_address.protocol"),
    ],
)
def test_field_of_an_endpoint_is_refused_as_any_other(value: Object, path: str) -> None:
    """Endpoints are read in a cheaper way, for they come by the thousand."""
    with pytest.raises(
        RefusedError, match=rf"^endpoints c: endpoints\[0\]\.lb_endpoints\[0\]\.{path} is not supported$"
    ):
        read(Type.ENDPOINTS, value)


def test_weight_of_a_locality_is_passed_over_and_counted() -> None:
    """Every load assignment has it."""
    value = assignment()
    value["endpoints"] *= 2
    for group in value["endpoints"]:
        group["load_balancing_weight"] = 3
    notes = Notes()
    decode_message(Type.ENDPOINTS, protos.from_dict(Type.ENDPOINTS.url.rpartition("/")[2], value), notes)

    assert notes.passed == {"envoy.config.endpoint.v3.LocalityLbEndpoints.load_balancing_weight": 2}


@pytest.mark.parametrize("inside", [False, True])
def test_field_of_newer_protos_is_counted_and_not_refused(*, inside: bool) -> None:
    """It has no name here; also in an extension."""
    one = protos.from_dict("envoy.config.listener.v3.Listener", listener(tcp()))
    number = b"\xfa\xff\x03\x01x"  # field 8191, one byte
    if inside:
        one.filter_chains[0].filters[0].typed_config.value += number
    notes = Notes()
    decode(Type.LISTENER, "l", one.SerializeToString() + (b"" if inside else number), notes)

    assert notes.passed[NEWER] == 1


def test_row_of_the_table_is_a_field() -> None:
    """Of a message that is carried."""
    for name in IGNORED.keys() - {NEWER}:
        kind, _, field = name.rpartition(".")
        assert field in protos.message(kind).DESCRIPTOR.fields_by_name, name
