"""A real Envoy as an xDS client: it judges what the control plane sends."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.authority import certify
from tests.support.adsserver import ISSUER, NOW

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("TULLE_ENVOY", ROOT / ".venv-envoy" / "bin" / "envoy"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Envoy:
    """A running Envoy and its admin port."""

    admin: str
    session: aiohttp.ClientSession
    log: Path

    async def get(self, path: str) -> str:
        async with self.session.get(self.admin + path) as response:
            return await response.text()

    async def stats(self) -> dict[str, int]:
        lines = (await self.get("/stats?usedonly")).splitlines()
        pairs = (line.rpartition(": ") for line in lines)
        return {name: int(value) for name, _, value in pairs if value.isdigit()}

    async def dump(self, part: str) -> list[dict[str, Any]]:
        configs = json.loads(await self.get("/config_dump?include_eds"))["configs"]
        return [one for one in configs if one["@type"].endswith(f".{part}")]

    async def until(self, check: Callable[[], Any], seconds: float = 20) -> Any:
        """Ask again until it holds; Envoy tells of no event."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            value = await check()
            if value:
                return value
            assert loop.time() < end, f"it did not come true; Envoy says:\n{self.log.read_text()[-3000:]}"
            await asyncio.sleep(0.05)


def bootstrap(port: int, *, delta: bool, node: str, admin_path: Path) -> dict[str, Any]:
    """Everything by ADS from a port of the loopback."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    cluster = {
        "name": "xds",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }
    return {
        "node": {"id": node, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(admin_path)}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {"cluster_name": "xds"},
                        "initial_metadata": [{"key": "authorization", "value": "Bearer t"}],
                    }
                ],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [cluster], "secrets": [_identity()]},
    }


def _identity() -> dict[str, Any]:
    """The secret every sidecar has by itself: its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/web")
    issued = certify(ISSUER, key.public_key(), [uri], now=NOW, seconds=3600)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "name": "identity",
        "tls_certificate": {
            "certificate_chain": {"inline_string": issued.chain},
            "private_key": {"inline_string": private.decode()},
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@asynccontextmanager
async def envoy(directory: Path, port: int, *, delta: bool, node: str = "web-1.shop") -> AsyncIterator[Envoy]:
    """Run Envoy against the control plane at a port until the end of the block."""
    config, log, admin = directory / "envoy.json", directory / "envoy.log", directory / "admin.sock"
    config.write_text(json.dumps(bootstrap(port, delta=delta, node=node, admin_path=admin)))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(BINARY),
            "-c",
            str(config),
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "info",
            stdout=out,
            stderr=out,
        )
        connector = aiohttp.UnixConnector(path=str(admin))
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                running = Envoy(admin="http://envoy", session=session, log=log)
                await running.until(lambda: _answers(running))
                yield running
            finally:
                process.terminate()
                await process.wait()


async def _answers(running: Envoy) -> bool:
    try:
        return bool(await running.get("/server_info"))
    except aiohttp.ClientError:
        return False
