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
    found = read(GOOD | {"TULLE_APP_PROBES": json.dumps(probes), "TULLE_DRAIN_SECONDS": "7"}, [])

    assert found.mesh is not None
    assert str(found.mesh.identity) == "spiffe://cluster.local/ns/shop/sa/web"
    assert (found.mesh.xds_host, found.mesh.xds_port) == ("tulle.tulle-system.svc", 15012)
    assert found.drain_seconds == 7
    probe = Probe(port=8080, path="/ready", headers=(("a", "b"),), timeout=2.0)
    assert dict(found.probes) == {"/app-health/app/readyz": probe}


def test_file_needs_no_mesh() -> None:
    """With --config nothing of the environment is asked for."""
    found = read({}, ["--config", "envoy.yaml", "--admin-port", "19000"])

    assert found.mesh is None
    assert str(found.config) == "envoy.yaml"
    assert found.admin_port == 19000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TULLE_XDS_ADDRESS", "nowhere"),
        ("TULLE_XDS_ADDRESS", ""),
        ("TULLE_CA_ROOTS", "none"),
        ("TULLE_TRUST_DOMAIN", "Not A Domain"),
        ("TULLE_CONCURRENCY", "many"),
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
