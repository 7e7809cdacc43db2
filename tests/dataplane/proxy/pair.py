"""Two sidecars as processes, mutual TLS between them, and the apps at the far end: what the peers in tests talk through.

The configuration is that of docs/xds-contract.md, from a file: mesh endpoints by metadata, HTTP on HTTP/2 between sidecars,
upgrades on HTTP/1.1, the app in the version its client spoke.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from aiohttp import WSMsgType, web

from tests.support.certs import Authority
from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
TYPE = "type.googleapis.com/envoy."
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Where clients connect, and where to look."""

    web: int
    grpc: int
    admins: tuple[int, int]

    def metrics(self) -> tuple[str, str]:
        """The expositions of the caller's and the callee's sidecar."""
        texts = []
        for admin in self.admins:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
                texts.append(answer.read().decode())
        return texts[0], texts[1]

    def gauge(self, name: str) -> float:
        """The sum of a sample without labels over both sidecars."""
        lines = [line for text in self.metrics() for line in text.splitlines()]
        return sum(float(line.split()[1]) for line in lines if line.startswith(name + " "))


# --- apps -------------------------------------------------------------------------------------------------------------


async def echo(request: web.Request) -> web.StreamResponse:
    """Stream back what comes, as it comes."""
    response = web.StreamResponse(headers={"x-version": f"{request.version.major}.{request.version.minor}"})
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


async def told(request: web.Request) -> web.Response:
    """Say which head came."""
    headers = [[name, value] for name, value in request.headers.items()]
    version = f"{request.version.major}.{request.version.minor}"
    return web.json_response({"path": request.raw_path, "headers": headers, "version": version})


async def large(request: web.Request) -> web.StreamResponse:
    """Send as many bytes as asked for."""
    response = web.StreamResponse()
    await response.prepare(request)
    left = int(request.query["n"])
    while left:
        piece = b"x" * min(left, 65536)
        await response.write(piece)
        left -= len(piece)
    return response


async def spelt(_: web.Request) -> web.Response:
    """Answer with a phrase and a spelling of its own."""
    return web.Response(reason="Quite So", headers={"X-Odd-Case": "1"})


async def chat(request: web.Request) -> web.WebSocketResponse:
    """Say everything twice."""
    socket_ = web.WebSocketResponse()
    await socket_.prepare(request)
    async for message in socket_:
        if message.type == WSMsgType.TEXT:
            await socket_.send_str(message.data * 2)
    return socket_


async def _serve_web(port: int, ready: threading.Event, stop: asyncio.Event) -> None:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/large", large)
    app.router.add_get("/spelt", spelt)
    app.router.add_get("/chat", chat)
    app.router.add_route("*", "/{rest:.*}", told)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ready.set()
    await stop.wait()
    await runner.cleanup()


def _say(request: bytes, _: Any) -> bytes:
    return request + request


def _count(request: bytes, _: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


def _each(requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
    for request in requests:
        yield request.upper()


def _wait(_: bytes, context: Any) -> bytes:
    gone = threading.Event()
    context.add_callback(gone.set)
    WAITING.set()
    if gone.wait(10):
        CANCELLED.set()
    return b""


def _fail(_: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.NOT_FOUND, "not here: ü")
    return b""


WAITING, CANCELLED = threading.Event(), threading.Event()


@contextmanager
def apps(web_port: int, grpc_port: int, threads: int) -> Iterator[None]:
    """Run the HTTP and the gRPC app; an open stream of the latter has a thread."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve_web(web_port, ready, stop)))
    thread.start()
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(_say),
        "Count": grpc.unary_stream_rpc_method_handler(_count),
        "Each": grpc.stream_stream_rpc_method_handler(_each),
        "Wait": grpc.unary_unary_rpc_method_handler(_wait),
        "Fail": grpc.unary_unary_rpc_method_handler(_fail),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        server.stop(0).wait()
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


# --- sidecars ---------------------------------------------------------------------------------------------------------


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _tls(side: str, alpn: list[str], authority: Authority, me: str, peer: str) -> dict[str, Any]:
    chain, key = authority.issue(me)
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {"certificate_chain": {"inline_string": chain.decode()}, "private_key": {"inline_string": key.decode()}},
        ],
        "validation_context": {
            "trusted_ca": {"inline_string": authority.roots.decode()},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
        },
        "alpn_protocols": alpn,
    }
    context = {"@type": f"{TYPE}extensions.transport_sockets.tls.v3.{side}TlsContext", "common_tls_context": common}
    if side == "Downstream":
        context["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _cluster(name: str, port: int, mesh: dict[str, Any] | None) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"endpoint": {"address": _address(port)}}
    options = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **options}},
    }
    if mesh is not None:
        endpoint["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"tulle.dev/mesh": "true"}}}
        cluster["transport_socket_matches"] = [
            {"name": "mesh", "match": {"tulle.dev/mesh": "true"}, "transport_socket": mesh},
            {
                "name": "plain",
                "match": {},
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": f"{TYPE}extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                },
            },
        ]
    return cluster


def _listener(name: str, port: int, cluster: str, tls: dict[str, Any] | None) -> dict[str, Any]:
    manager = {
        "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {
                    "name": "v",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}],
                }
            ],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain: dict[str, Any] = {
        "name": "http",
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }
    if tls is not None:
        chain["transport_socket"] = tls
    direction = "OUTBOUND" if tls is None else "INBOUND"
    return {"name": name, "address": _address(port), "traffic_direction": direction, "filter_chains": [chain]}


def _start(home: Path, name: str, resources: dict[str, Any], admin: int) -> subprocess.Popen[bytes]:
    path = home / f"{name}.json"
    path.write_text(json.dumps({"static_resources": resources}))
    command = [sys.executable, "-m", "dataplane", "--config", str(path)]
    log = (home / f"{name}.log").open("wb")
    with log:
        return subprocess.Popen(
            [*command, "--admin-host", "127.0.0.1", "--admin-port", str(admin)], cwd=ROOT, stdout=log, stderr=log
        )


def _until_ready(admin: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/healthz/ready", timeout=1):
                return
        except OSError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)


@contextmanager
def pair(home: Path, threads: int = 16, *, expected: str = "spiffe://t/ns/n/sa/callee") -> Iterator[Pair]:
    """Run everything; ends with both sidecars empty and without a traceback in their logs. The caller wants the callee to be `expected`."""
    web_in, grpc_in, web_out, grpc_out, web_app, grpc_app, first, second = free_ports(8)
    authority = Authority("t")
    me, peer = "spiffe://t/ns/n/sa/caller", "spiffe://t/ns/n/sa/callee"
    up = _tls("Upstream", ["tulle-h2", "tulle-http/1.1"], authority, me, expected)
    down = _tls("Downstream", ["tulle-h2", "tulle-http/1.1"], authority, peer, me)
    outbound = {
        "listeners": [_listener("web", web_out, "web", None), _listener("grpc", grpc_out, "grpc", None)],
        "clusters": [_cluster("web", web_in, up), _cluster("grpc", grpc_in, up)],
    }
    inbound = {
        "listeners": [_listener("web", web_in, "web", down), _listener("grpc", grpc_in, "grpc", down)],
        "clusters": [_cluster("web", web_app, None), _cluster("grpc", grpc_app, None)],
    }
    with apps(web_app, grpc_app, threads):
        processes = []
        try:
            for name, resources, admin in (("inbound", inbound, second), ("outbound", outbound, first)):
                processes.append(_start(home, name, resources, admin))
                _until_ready(admin, processes[-1], home / f"{name}.log")
            yield Pair(web=web_out, grpc=grpc_out, admins=(first, second))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(15)
    for name in ("inbound", "outbound"):
        said = (home / f"{name}.log").read_text()
        assert "Traceback" not in said, said
        assert "defect" not in said, said
