"""A sidecar as a process, run from a file that Envoy can be given as well, and the pieces such files are made of."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshapi import xds
from tests.support.certs import Authority
from tests.support.peers import SECONDS
from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
_KIND = "type.googleapis.com/envoy.extensions"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Sidecar:
    """A running `python -m dataplane --config`."""

    def __init__(self, config: Path, directory: Path, **environment: str) -> None:
        self.admin = free_ports(1)[0]
        self.log = directory / f"{config.stem}-sidecar.log"
        arguments = ["--config", str(config), "--admin-host", "127.0.0.1", "--admin-port", str(self.admin)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataplane", *arguments],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env=os.environ | {"TULLE_DRAIN_SECONDS": "2"} | environment,
            )
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            try:
                self.ask("/healthz/ready")
            except urllib.error.URLError:
                time.sleep(0.02)
            else:
                return
        self.process.kill()
        self.process.wait()
        raise AssertionError(f"the sidecar did not start:\n{self.log.read_text()}")

    def ask(self, path: str) -> str:
        """Ask the admin port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def metrics(self) -> dict[str, float]:
        """Every sample by name and labels."""
        lines = [line for line in self.ask("/metrics").splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def total(self, name: str, *labels: str) -> float:
        """The sum over the series of a name whose labels hold all of these texts."""
        return sum(
            value
            for series, value in self.metrics().items()
            if series.partition("{")[0] == name and all(label in series for label in labels)
        )

    def resident(self) -> int:
        """Resident memory in bytes, from the kernel."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many files and sockets it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def held(self) -> dict[str, float]:
        """What it still holds for clients and servers; empty when nothing is left (the asking connection is not counted)."""
        found = self.metrics()
        gauges = {
            "connections": found["tulle_proxy_connections"] - 1,
            "requests": found["tulle_proxy_requests_active"],
            "relays": self.total("tulle_tcp_connections_opened_total")
            - self.total("tulle_tcp_connections_closed_total"),
        }
        return {name: value for name, value in gauges.items() if value}

    def settle(self, seconds: float = 10, pooled: int = 0) -> None:
        """Wait until it holds nothing but connections kept for later, as many as are `pooled`; fail with what it holds."""
        gc.collect()  # a failed grpcio call lives on in its traceback, and keeps its connection
        end = time.monotonic() + seconds
        while (held := self.held()) and not (held.keys() == {"connections"} and held["connections"] <= pooled):
            assert time.monotonic() < end, f"the sidecar still holds {held}"
            time.sleep(0.02)

    def end(self) -> None:
        """End it gracefully; it must say nothing of a defect."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        words = self.log.read_text()
        assert "Traceback" not in words, words
        assert self.process.returncode == 0, words


@contextmanager
def sidecar(config: Path, directory: Path, pooled: int = 0, **environment: str) -> Iterator[Sidecar]:
    """Run a sidecar; at the end, with its clients and servers gone, it must hold nothing (but `pooled` connections)."""
    made = Sidecar(config, directory, **environment)
    try:
        yield made
        made.settle(pooled=pooled)
    except BaseException:
        made.process.kill()
        made.process.wait()
        sys.stderr.write(made.log.read_text()[-4000:])
        raise
    made.end()


# --- pieces of a bootstrap file ---------------------------------------------------------------------------------------


def write(path: Path, listeners: Sequence[Json], clusters: Sequence[Json], **more: Any) -> Path:
    """Write a bootstrap file."""
    path.write_text(
        json.dumps({"static_resources": {"listeners": list(listeners), "clusters": list(clusters)}, **more})
    )
    return path


def address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(
    name: str, *ports: int, protocol: str = "http1", tls: Json | None = None, mesh: Json | None = None, **more: Any
) -> Json:
    """A cluster of endpoints on loopback; `protocol` is http1, http2 or any (as the client speaks); `mesh` is TLS for mesh endpoints."""
    endpoints: list[Json] = [{"endpoint": {"address": address(port)}} for port in ports]
    if mesh is not None:
        marked = {"filter_metadata": {xds.TRANSPORT_MATCH: {xds.MESH_MATCH: "true"}}}
        endpoints = [one | {"metadata": marked} for one in endpoints]
        more["transport_socket_matches"] = [
            {"name": "mesh", "match": {xds.MESH_MATCH: "true"}, "transport_socket": mesh}
        ]
    if tls is not None:
        more["transport_socket"] = tls
    explicit: dict[str, Json] = {
        "http1": {"explicit_http_config": {"http_protocol_options": _HTTP1}},
        "http2": {"explicit_http_config": {"http2_protocol_options": {}}},
        "any": {"use_downstream_protocol_config": {"http_protocol_options": _HTTP1, "http2_protocol_options": {}}},
    }
    options = {"@type": f"{_KIND}.upstreams.http.v3.HttpProtocolOptions", **explicit[protocol]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}] if ports else []},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
        **more,
    }


_HTTP1 = {"accept_http_10": True, "default_host_for_http_10": "http10.example", "enable_trailers": True}
"""What makes Envoy do with HTTP/1 what our sidecar always does; ours reads none of it."""


def http(routes: Sequence[Json], **more: Any) -> Json:
    """An HTTP connection manager with one virtual host for all."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_KIND}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "http_protocol_options": _HTTP1,
            "http2_protocol_options": {"allow_connect": True, "override_stream_error_on_invalid_http_message": True},
            "stream_error_on_invalid_http_message": True,
            "proxy_100_continue": True,
            "preserve_external_request_id": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "delayed_close_timeout": "0.1s",
            "use_remote_address": True,
            "route_config": {
                "name": "routes",
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(routes)}],
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{_KIND}.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ],
            **more,
        },
    }


def to(cluster_name: str, **more: Any) -> Json:
    """A route of everything to a cluster."""
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster_name, "timeout": "0s", **more}}


def tcp(cluster_name: str) -> Json:
    """A TCP proxy."""
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": f"{_KIND}.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": cluster_name,
        },
    }


def chain(filter_: Json, *, tls: Json | None = None, **match: Any) -> Json:
    made: Json = {"filters": [filter_]}
    if match:
        made["filter_chain_match"] = match
    if tls is not None:
        made["transport_socket"] = tls
    return made


def listener(name: str, port: int, *chains: Json, inspect: Sequence[str] = (), **more: Any) -> Json:
    """A listener on loopback; `inspect` names the inspectors, http and tls."""
    kinds = {"http": "HttpInspector", "tls": "TlsInspector"}
    filters = [
        {
            "name": f"envoy.filters.listener.{one}_inspector",
            "typed_config": {"@type": f"{_KIND}.filters.listener.{one}_inspector.v3.{kinds[one]}"},
        }
        for one in inspect
    ]
    return {"name": name, "address": address(port), "listener_filters": filters, "filter_chains": list(chains), **more}


HTTP_ALPN = ("http/1.0", "http/1.1", "h2c")


class Identities:
    """One root and the mesh TLS of its workloads, inline, as both proxies read it."""

    def __init__(self) -> None:
        self.root = Authority()

    def _common(self, account: str, alpn: Sequence[str], uris: Sequence[Mapping[str, str]]) -> Json:
        certificate, key = self.root.issue(f"spiffe://test/ns/a/sa/{account}")
        names = [{"san_type": "URI", "matcher": dict(one)} for one in uris]
        trusted = {"trusted_ca": {"inline_string": self.root.roots.decode()}, "match_typed_subject_alt_names": names}
        return {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": list(alpn),
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": certificate.decode()},
                    "private_key": {"inline_string": key.decode()},
                }
            ],
            "validation_context": trusted,
        }

    def server(self, *alpn: str, account: str = "server") -> Json:
        """The inbound side: a client certificate of the trust domain is required."""
        return {
            "name": "tls",
            "typed_config": {
                "@type": f"{_KIND}.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": True,
                "common_tls_context": self._common(account, alpn, [{"prefix": "spiffe://test/"}]),
            },
        }

    def client(self, *alpn: str, account: str = "client", expect: str = "server") -> Json:
        """The outbound side: exactly the expected account is accepted."""
        return {
            "name": "tls",
            "typed_config": {
                "@type": f"{_KIND}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "80.server.a",
                "common_tls_context": self._common(account, alpn, [{"exact": f"spiffe://test/ns/a/sa/{expect}"}]),
            },
        }
