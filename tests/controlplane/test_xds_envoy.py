"""A real Envoy takes everything it is sent, over both variants of the protocol, and follows changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import meshobjects as mo
from tests.support.adsserver import served
from tests.support.envoy import Envoy, envoy

VARIANTS = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
OBJECTS = [
    *mo.shop().held.values(),
    mo.service("raw", "10.96.0.3", {"name": "tcp", "port": 9000}),
    mo.service("rpc", "10.96.0.4", {"name": "grpc", "port": 50051}),
    mo.service("any", "10.96.0.5", {"name": "x", "port": 7000}),
    mo.route(
        "split",
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"}],
            "backendRefs": [mo.to("web", weight=9), mo.to("api", weight=1)],
            "timeouts": {"request": "3s"},
        },
        {"backendRefs": [mo.to("missing")]},
    ),
]
OUTSIDE = mo.pod("web-1", "10.0.0.1", mesh=False)
"""Envoy's own pod is outside the mesh here, so that no inbound listener binds a port of this machine."""


async def clusters(running: Envoy) -> dict[str, Any]:
    (dump,) = await running.dump("ClustersConfigDump")
    assert "dynamic_warming_clusters" not in dump, dump["dynamic_warming_clusters"]
    return {one["cluster"]["name"]: one["cluster"] for one in dump.get("dynamic_active_clusters", [])}


async def rejected(running: Envoy) -> dict[str, int]:
    return {
        name: count for name, count in (await running.stats()).items() if name.endswith("update_rejected") and count
    }


async def endpoints(running: Envoy, name: str) -> set[str]:
    lines = (await running.get("/clusters")).splitlines()
    return {line.split("::")[1] for line in lines if line.startswith(f"{name}::1") and "cx_active" in line}


async def live(running: Envoy) -> bool:
    return '"state": "LIVE"' in await running.get("/server_info")


@VARIANTS
async def test_envoy_takes_the_whole_view(tmp_path: Path, delta: bool) -> None:
    """No cluster waits, no resource is refused, and Envoy goes live."""
    async with served(*OBJECTS, OUTSIDE) as held, envoy(tmp_path, held.port, delta=delta) as running:
        await running.until(lambda: live(running))
        (listeners,) = await running.dump("ListenersConfigDump")
        routes = [one for dump in await running.dump("RoutesConfigDump") for one in dump["dynamic_route_configs"]]

        assert set(await clusters(running)) >= {
            "passthrough",
            "shop/web:80",
            "shop/api:80",
            "shop/raw:9000",
            "shop/rpc:50051",
        }
        assert {one["name"] for one in listeners["dynamic_listeners"]} >= {
            "outbound/10.96.0.1:80",
            "outbound/10.96.0.3:9000",
            "outbound/10.96.0.5:7000",
        }
        assert not [one for one in listeners["dynamic_listeners"] if "error_state" in one]
        assert "shop/web:80" in {one["route_config"]["name"] for one in routes}
        assert await rejected(running) == {}
        assert await endpoints(running, "shop/api:80") == {"10.0.0.2:8080", "10.0.0.3:8080"}


@VARIANTS
async def test_envoy_follows_endpoints_services_and_identities(tmp_path: Path, delta: bool) -> None:
    """A new endpoint, a new Service, a changed cluster (answered with its endpoints again) and a removal all arrive."""
    async with served(*OBJECTS, OUTSIDE) as held, envoy(tmp_path, held.port, delta=delta) as running:
        await running.until(lambda: live(running))
        held.apply(mo.pod("api-9", "10.0.0.9", account="other"))
        held.apply(mo.endpoint_slice("api", mo.endpoint("api-9", "10.0.0.9")))

        async def moved() -> bool:
            return await endpoints(running, "shop/api:80") == {"10.0.0.9:8080"}

        await running.until(moved)
        held.apply(mo.service("new", "10.96.0.9", mo.HTTP), mo.endpoint_slice("new", mo.endpoint("api-9", "10.0.0.9")))

        async def known() -> bool:
            return "shop/new:80" in await clusters(running) and bool(await endpoints(running, "shop/new:80"))

        await running.until(known)
        held.remove("Service", "shop", "new")

        async def gone() -> bool:
            return "shop/new:80" not in await clusters(running)

        await running.until(gone)
        assert "spiffe://cluster.local/ns/shop/sa/other" in str((await clusters(running))["shop/api:80"])
        assert await rejected(running) == {}


@VARIANTS
async def test_envoy_resumes_after_the_stream_ends(tmp_path: Path, delta: bool) -> None:
    """A drained replica's client comes back and is told what it missed."""
    async with served(*OBJECTS, OUTSIDE) as held, envoy(tmp_path, held.port, delta=delta) as running:
        await running.until(lambda: live(running))
        for stream in held.hub.streams:
            stream.queue.end()
        held.apply(mo.endpoint_slice("api", mo.endpoint("api-1", "10.0.0.77")))

        async def moved() -> bool:
            return await endpoints(running, "shop/api:80") == {"10.0.0.77:8080"}

        await running.until(moved)
        assert await rejected(running) == {}
