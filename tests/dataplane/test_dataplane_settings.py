"""What a sidecar is told, and what it refuses."""

from __future__ import annotations

import json

import pytest

from dataplane.settings import BadSettingError, Probe, read

GOOD = {
    "TULLE_XDS_ADDRESS": "tulle.tulle-system.svc:15012",
    "TULLE_CA_ROOTS": "-----BEGIN CERTIFICATE-----\n",
    "TULLE_TRUST_DOMAIN": "cluster.local",
    "TULLE_NAMESPACE": "shop",
    "TULLE_SERVICE_ACCOUNT": "web",
    "TULLE_POD": "web-1",
    "TULLE_POD_IP": "10.0.0.1",
}


def test_injected_environment_is_read() -> None:
    """Identity, control plane and probes come out typed."""
    probes = {"/app-health/app/readyz": {"port": 8080, "path": "/ready", "headers": [["a", "b"]], "timeout": 2}}
    found = read(
        GOOD | {"TULLE_APP_PROBES": json.dumps(probes), "TULLE_DRAIN_SECONDS": "7", "TULLE_IDLE_SECONDS": "30"}, []
    )

    assert found.mesh is not None
    assert str(found.mesh.identity) == "spiffe://cluster.local/ns/shop/sa/web"
    assert (found.mesh.xds_host, found.mesh.xds_port) == ("tulle.tulle-system.svc", 15012)
    assert (found.drain_seconds, found.idle_seconds) == (7, 30)
    probe = Probe(port=8080, path="/ready", headers=(("a", "b"),), timeout=2.0)
    assert dict(found.probes) == {"/app-health/app/readyz": probe}


def test_bounds_come_from_the_environment() -> None:
    """With or without a mesh."""
    given = {
        "TULLE_ACCESS_LOG_SHARE": "5",
        "TULLE_MEMORY_LIMIT": "268435456",
        "TULLE_MAX_CONNECTIONS": "500",
        "TULLE_MAX_CONNECTIONS_PER_SOURCE": "0",
        "TULLE_MAX_HEADER_BYTES": "131072",
        "TULLE_MAX_HEADER_COUNT": "50",
    }
    for found in (read(given, ["--config", "envoy.yaml"]), read(GOOD | given, [])):
        assert (found.access_log_share, found.memory_limit) == (0.05, 268435456)
        assert (found.max_connections, found.max_connections_per_source) == (500, 0)
        assert (found.max_header_bytes, found.max_header_count) == (131072, 50)


def test_file_needs_no_mesh() -> None:
    """With --config nothing of the environment is asked for."""
    found = read({}, ["--config", "envoy.yaml", "--admin-port", "19000"])

    assert found.mesh is None
    assert str(found.config) == "envoy.yaml"
    assert found.admin_port == 19000


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--concurrency", "0"), ("--concurrency", "many"), ("--admin-port", "0"), ("--admin-port", "65536")],
)
def test_flags_have_the_bounds_of_the_environment(flag: str, value: str) -> None:
    """The sentence names the flag and says what is right."""
    with pytest.raises(BadSettingError, match=f"{flag} is '{value}'; right is a whole number from 1 to"):
        read({}, ["--config", "envoy.yaml", flag, value])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TULLE_XDS_ADDRESS", "nowhere"),
        ("TULLE_XDS_ADDRESS", ""),
        ("TULLE_CA_ROOTS", "none"),
        ("TULLE_TRUST_DOMAIN", "Not A Domain"),
        ("TULLE_CONCURRENCY", "many"),
        ("TULLE_ACCESS_LOG_SHARE", "101"),
        ("TULLE_MEMORY_LIMIT", "256Mi"),
        ("TULLE_MAX_CONNECTIONS", "0"),
        ("TULLE_MAX_CONNECTIONS_PER_SOURCE", "-1"),
        ("TULLE_MAX_HEADER_BYTES", "100"),
        ("TULLE_MAX_HEADER_COUNT", "1"),
        ("TULLE_LOG_LEVEL", "chatty"),
        ("TULLE_APP_PROBES", "{"),
        ("TULLE_APP_PROBES", '{"/x": {"path": "/"}}'),
    ],
)
def test_bad_setting_is_refused_by_name(name: str, value: str) -> None:
    """The sentence names what was wrong."""
    with pytest.raises(BadSettingError) as caught:
        read(GOOD | {name: value}, [])

    assert name in str(caught.value) or value in str(caught.value)
