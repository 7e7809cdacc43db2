"""Time-outs and bounds, from the fields Envoy has and with its defaults."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config import CircuitLimits, Cluster, Forward, HttpFilter, HttpTimeouts, Listener, PathRule, RouteTable
from dataplane.xds.decode import decode_message
from dataplane.xds.reading import RefusedError
from meshapi import protos
from meshapi.xds import Type
from tests.dataplane.xds.test_xds_decode import listener, tcp

EXTENSIONS = "type.googleapis.com/envoy.extensions."
MANAGER = EXTENSIONS + "filters.network.http_connection_manager.v3.HttpConnectionManager"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
Object = dict[str, Any]


def read(type_: Type, value: Object) -> Any:
    return decode_message(type_, protos.from_dict(type_.url.rpartition("/")[2], value))


def manager(**fields: Any) -> HttpFilter:
    config = {"@type": MANAGER, "stat_prefix": "x", "route_config": {"name": "r"}, **fields}
    noun: Listener = read(
        Type.LISTENER,
        {
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": config}]}],
        },
    )
    found = noun.chains[0].filter
    assert isinstance(found, HttpFilter)
    return found


def route(**fields: Any) -> Forward:
    one = {"match": {"prefix": "/"}, "route": {"cluster": "c", **fields}}
    noun: RouteTable = read(
        Type.ROUTES, {"name": "t", "virtual_hosts": [{"name": "h", "domains": ["*"], "routes": [one]}]}
    )
    found = noun.hosts[0].routes[0].action
    assert isinstance(found, Forward)
    return found


def cluster(**fields: Any) -> Cluster:
    found: Cluster = read(Type.CLUSTER, {"name": "c", "type": "STATIC", **fields})
    return found


def test_what_is_not_said_has_envoys_default() -> None:
    """An hour idle, five minutes for a stream, 15 seconds for a route, 5 to connect; the rest is off."""
    assert manager().timeouts == HttpTimeouts(
        idle=3600.0, stream_idle=300.0, request=0.0, request_headers=0.0, life=0.0, duration=0.0
    )
    assert (manager().max_requests, manager().use_remote_address, manager().trusted_hops) == (0, False, 0)
    assert (route().timeout, route().idle, route().duration, route().retry) == (15.0, None, None, None)
    bare = cluster()
    assert (bare.connect_timeout, bare.idle, bare.life, bare.max_requests) == (5.0, None, None, 0)
    assert bare.limits == CircuitLimits(max_connections=1024, max_pending=1024, max_requests=1024, max_retries=3)


def test_connection_managers_fields_are_read() -> None:
    """Each to its own time-out."""
    found = manager(
        stream_idle_timeout="1s",
        request_timeout="2s",
        request_headers_timeout="3s",
        use_remote_address=True,
        xff_num_trusted_hops=2,
        common_http_protocol_options={
            "idle_timeout": "4s",
            "max_connection_duration": "5s",
            "max_stream_duration": "6s",
            "max_requests_per_connection": 7,
        },
    )

    assert found.timeouts == HttpTimeouts(
        stream_idle=1.0, request=2.0, request_headers=3.0, idle=4.0, life=5.0, duration=6.0
    )
    assert (found.max_requests, found.use_remote_address, found.trusted_hops) == (7, True, 2)


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0.0), ("0.5s", 0.5)])
def test_routes_fields_are_read_and_zero_is_not_absence(text: str, seconds: float) -> None:
    """Zero switches off what the connection manager says; absence keeps it."""
    found = route(
        timeout=text,
        idle_timeout=text,
        max_stream_duration={"max_stream_duration": text},
        retry_policy={"retry_on": "5xx", "num_retries": 2, "per_try_timeout": text},
    )

    assert (found.timeout, found.idle, found.duration) == (seconds, seconds, seconds)
    assert found.retry is not None
    assert (found.retry.attempts, found.retry.per_try_timeout) == (2, seconds)


@pytest.mark.parametrize("extension", [False, True], ids=["legacy field", "extension"])
def test_clusters_fields_are_read(extension: bool) -> None:
    """From either place Envoy has had for them."""
    common = {"idle_timeout": "1s", "max_connection_duration": "2s", "max_requests_per_connection": 3}
    options = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": common,
    }
    where = (
        {"typed_extension_protocol_options": {OPTIONS: options}}
        if extension
        else {"common_http_protocol_options": common}
    )
    bounds = {"max_connections": 4, "max_pending_requests": 5, "max_requests": 6, "max_retries": 0}
    found = cluster(
        connect_timeout="0.25s",
        circuit_breakers={"thresholds": [bounds]},
        **where,
    )

    assert (found.connect_timeout, found.idle, found.life, found.max_requests) == (0.25, 1.0, 2.0, 3)
    assert found.limits == CircuitLimits(max_connections=4, max_pending=5, max_requests=6, max_retries=0)


@pytest.mark.parametrize(
    ("budget", "least", "percent"),
    [
        ({}, 3, 20.0),
        ({"budget_percent": {"value": 0.0}, "min_retry_concurrency": 7}, 7, 0.0),
        ({"budget_percent": {"value": 12.5}}, 3, 12.5),
    ],
)
def test_retry_budget_is_read(budget: dict[str, Any], least: int, percent: float) -> None:
    """It takes the place of `max_retries`, with Envoy's defaults."""
    limits = cluster(circuit_breakers={"thresholds": [{"max_retries": 9, "retry_budget": budget}]}).limits

    assert (limits.max_retries, limits.retry_percent) == (least, percent)


@pytest.mark.parametrize("percent", [-1.0, 100.5, "NaN"])
def test_retry_budget_that_is_no_share_is_refused(percent: float | str) -> None:
    """In a sentence that says what would be right."""
    thresholds = [{"retry_budget": {"budget_percent": {"value": percent}}}]
    with pytest.raises(RefusedError, match=r"^cluster c: a retry budget of .* percent makes no sense; use 0 to 100$"):
        cluster(circuit_breakers={"thresholds": thresholds})


def test_connection_keepalive_is_read() -> None:
    """Of HTTP/2, for clusters in any of the places it may stand."""
    http2 = {"connection_keepalive": {"interval": "3s", "timeout": "0.5s"}}
    explicit = {"explicit_http_config": {"http2_protocol_options": http2}}
    repeated = {"use_downstream_protocol_config": {"http2_protocol_options": http2}}
    for chosen in (explicit, repeated):
        options = {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **chosen}}
        assert cluster(typed_extension_protocol_options=options).keepalive == (3.0, 0.5)
    assert cluster(http2_protocol_options=http2).keepalive == (3.0, 0.5)
    assert cluster().keepalive is None


@pytest.mark.parametrize(
    ("ratio", "ahead"),
    [({}, False), ({"predictive_preconnect_ratio": 1.0}, False), ({"predictive_preconnect_ratio": 2.0}, True)],
)
def test_predictive_preconnect_is_read(ratio: dict[str, float], ahead: bool) -> None:
    """A ratio above 1 asks for more connections than there are requests."""
    assert cluster(preconnect_policy=ratio).ahead is ahead


def test_path_options_are_read() -> None:
    """Each by itself; without any there is no rule."""
    silent, said = (
        manager(**more).paths
        for more in (
            {"path_with_escaped_slashes_action": "KEEP_UNCHANGED", "normalize_path": False},
            {
                "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
                "normalize_path": True,
                "merge_slashes": True,
            },
        )
    )

    assert silent is None
    assert said == PathRule(normalize=True, merge_slashes=True, escaped_slashes="redirect")


def test_upgrades_are_read_of_the_connection_manager_and_of_a_route() -> None:
    """With what is switched off."""
    configs = [{"upgrade_type": "WebSocket"}, {"upgrade_type": "CONNECT-UDP", "enabled": False}]
    chain = manager(upgrade_configs=configs)

    assert chain.upgrades == route(upgrade_configs=configs).upgrades == (("websocket", True), ("connect-udp", False))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"grpc_timeout_header_offset": "1s"}, None),
        ({"grpc_timeout_header_max": "0s"}, (0.0, 0.0)),
        ({"grpc_timeout_header_max": "2s", "grpc_timeout_header_offset": "0.5s"}, (2.0, 0.5)),
    ],
)
def test_time_of_a_grpc_call_is_read(said: dict[str, str], expected: tuple[float, float] | None) -> None:
    """A cap of 0 is none; an offset alone says nothing, as in Envoy."""
    assert route(max_stream_duration=said).grpc_duration == expected


def test_retry_goes_to_another_endpoint_and_gives_up_silence() -> None:
    """The predicate Envoy's users know is what the sidecar does anyway; others it does not."""
    kind = EXTENSIONS + "retry.host.previous_hosts.v3.PreviousHostsPredicate"
    known = {"name": "p", "typed_config": {"@type": kind}}
    other = {"name": "o", "typed_config": {"@type": EXTENSIONS + "filters.http.router.v3.Router"}}
    found = route(
        retry_policy={
            "retry_on": "5xx",
            "retry_host_predicate": [known],
            "host_selection_retry_max_attempts": "5",
            "per_try_idle_timeout": "0.5s",
        }
    )
    assert found.retry
    assert found.retry.per_try_idle == 0.5
    with pytest.raises(RefusedError, match="retry host predicate o is not supported"):
        route(retry_policy={"retry_on": "5xx", "retry_host_predicate": [other]})


@pytest.mark.parametrize("word", ["nonsense", "envoy-ratelimited", "retriable-headers", "5XX"])
def test_word_that_nobody_retries_on_is_refused(word: str) -> None:
    """By name."""
    with pytest.raises(RefusedError, match=f"retrying on {word} is not supported"):
        route(retry_policy={"retry_on": f"5xx,{word}"})


def test_tcp_proxys_fields_are_read() -> None:
    """How long it may be silent, and how old it may become."""
    found = read(Type.LISTENER, listener(tcp(idle_timeout="1s", max_downstream_connection_duration="2s")))

    assert (found.chains[0].filter.idle_timeout, found.chains[0].filter.life) == (1.0, 2.0)
