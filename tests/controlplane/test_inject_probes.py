"""The app's probes, asked through the sidecar."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controlplane.inject.probes import rewrite

APP: dict[str, Any] = {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}


def test_http_probe_goes_to_the_sidecar_and_keeps_its_timing() -> None:
    """Only who is asked changes; path, headers and scheme travel in the table."""
    probe = {
        "httpGet": {
            "path": "/ok?x=1",
            "port": "http",
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "Host", "value": "web"}],
        },
        "periodSeconds": 7,
        "timeoutSeconds": 4,
    }
    changed, table = rewrite(APP | {"readinessProbe": probe})

    assert changed["readinessProbe"] == {
        "httpGet": {"path": "/app-health/web/readyz", "port": 15020, "scheme": "HTTP"},
        "periodSeconds": 7,
        "timeoutSeconds": 4,
    }
    assert table == {
        "/app-health/web/readyz": {
            "port": 8080,
            "path": "/ok?x=1",
            "scheme": "HTTPS",
            "headers": [["Host", "web"]],
            "tcp": False,
            "timeout": 4,
        }
    }


def test_tcp_and_grpc_probes_and_http_hooks_are_asked_through_the_sidecar_too() -> None:
    """Whatever comes over the network plaintext would be refused under STRICT."""
    changed, table = rewrite(
        APP
        | {
            "livenessProbe": {"tcpSocket": {"port": 9000}},
            "startupProbe": {"grpc": {"port": 9001, "service": "health"}},
            "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": 8080}}},
        }
    )

    assert changed["livenessProbe"]["httpGet"]["path"] == "/app-health/web/livez"
    assert changed["startupProbe"]["httpGet"]["path"] == "/app-health/web/startupz"
    assert changed["lifecycle"]["preStop"]["httpGet"]["path"] == "/app-health/web/prestopz"
    assert table["/app-health/web/livez"]["tcp"]
    assert table["/app-health/web/startupz"]["scheme"] == "GRPC"
    assert table["/app-health/web/startupz"]["path"] == "health"
    assert table["/app-health/web/prestopz"]["port"] == 8080


@pytest.mark.parametrize(
    "probe",
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"port": 80, "host": "elsewhere.example"}},
        {"httpGet": {"port": "nameless"}},
        {"httpGet": {"path": "/app-health/web/livez", "port": 15020}},
        {"httpGet": {"path": "/app-lifecycle/prestop", "port": 15020}},
    ],
    ids=["exec", "another host", "unknown port name", "rewritten already", "the sidecar's own"],
)
def test_probe_that_is_not_for_the_sidecar_is_left_alone(probe: dict[str, Any]) -> None:
    """What is not asked of the app over the network stays as it is."""
    container = APP | {"livenessProbe": probe}
    before = copy.deepcopy(container)

    assert rewrite(container) == (before, {})
    assert container == before
