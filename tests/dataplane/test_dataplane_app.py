"""A whole sidecar as a process, from a file: real clients, real sockets, and a graceful end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


class App(BaseHTTPRequestHandler):
    """Answers with what it was asked; `/slow` takes its time."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.entered.set()  # type: ignore[attr-defined]
            self.server.leave.wait(10)  # type: ignore[attr-defined]
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def app() -> Iterator[Any]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), App)
    served.entered, served.leave = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.leave.set()  # type: ignore[attr-defined]
    served.shutdown()
    served.server_close()
    thread.join()


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(port: int, tcp_port: int, app_port: int) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    relay = {"@type": f"{kind}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp", "cluster": "app"}
    relays = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": relay}]
    load = {"cluster_name": "app", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(app_port)}}]}]}
    return {
        "static_resources": {
            "listeners": [
                {"name": "in", "address": address(port), "filter_chains": [{"filters": filters}]},
                {"name": "tcp", "address": address(tcp_port), "filter_chains": [{"filters": relays}]},
            ],
            "clusters": [{"name": "app", "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}],
        }
    }


class Sidecar:
    """A running `tulle-proxy --config`."""

    def __init__(self, directory: Path, app_port: int, *more: str, **environment: str) -> None:
        self.port, self.tcp, self.admin = free_ports(3)
        path = directory / "config.json"
        path.write_text(json.dumps(bootstrap(self.port, self.tcp, app_port)))
        arguments = ["--config", str(path), "--admin-host", "127.0.0.1", "--admin-port", str(self.admin)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dataplane", *arguments, *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TULLE_DRAIN_SECONDS": "5"} | environment,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.ask("/healthz/ready", admin=True) == "ready\n":
                    return
            except urllib.error.URLError:
                time.sleep(0.02)
        raise AssertionError(self.process.communicate()[1])

    def ask(self, path: str, *, admin: bool = False, method: str = "GET") -> str:
        url = f"http://127.0.0.1:{self.admin if admin else self.port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return str(answer.read().decode())

    def counter(self, sample: str) -> float:
        """Read one sample of the metrics; 0 when it is not there."""
        lines = self.ask("/metrics", admin=True).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " "))

    def becomes_unready(self) -> bool:
        """Tell whether readiness turns within some seconds."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                self.ask("/healthz/ready", admin=True)
            except urllib.error.HTTPError as answer:
                with answer:
                    return answer.code == 503
        return False

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        words = self.process.communicate(timeout=15)[1]
        assert self.process.returncode == 0, words
        return words


Start = Callable[..., Sidecar]


@pytest.fixture
def start(tmp_path: Path, app: Any) -> Iterator[Start]:
    """Start sidecars in front of the app, with further arguments and settings."""
    started: list[Sidecar] = []

    def make(*more: str, **environment: str) -> Sidecar:
        started.append(Sidecar(tmp_path, app.server_address[1], *more, **environment))
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def sidecar(start: Start) -> Sidecar:
    return start()


def test_requests_pass_and_are_counted(sidecar: Sidecar) -> None:
    """A request reaches the app with its path, and the metrics say so."""
    seen = json.loads(sidecar.ask("/x?y=1"))

    assert seen["path"] == "/x?y=1"
    assert seen["headers"]["x-request-id"]
    assert 'response_code="200"' in sidecar.ask("/metrics", admin=True)
    assert "Traceback" not in sidecar.end()


def test_configuration_and_routes_are_shown(sidecar: Sidecar) -> None:
    """The admin port shows what is in force."""
    assert json.loads(sidecar.ask("/config", admin=True))["clusters"]["app"]["kind"] == "static"
    assert json.loads(sidecar.ask("/route?host=a&path=/", admin=True))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        sidecar.ask("/nothing", admin=True)


def test_request_under_way_is_finished_before_the_end(sidecar: Sidecar, app: Any) -> None:
    """SIGTERM lets a slow request be answered, and then the process goes."""
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(sidecar.ask("/slow")))
    client.start()
    assert app.entered.wait(10)
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.becomes_unready()
    app.leave.set()
    client.join()
    words = sidecar.process.communicate(timeout=15)[1]

    assert json.loads(answers[0])["path"] == "/slow"
    assert sidecar.process.returncode == 0, words


def test_clients_that_come_before_the_end_are_served_and_sent_away(sidecar: Sidecar, app: Any) -> None:
    """While something is under way the ports stay open: callers hear of a pod's end later than the pod."""
    client = threading.Thread(target=lambda: sidecar.ask("/slow"))
    client.start()
    assert app.entered.wait(10)
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.becomes_unready()
    late = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=10)
    late.request("GET", "/late")
    answer = late.getresponse()

    assert (answer.status, answer.getheader("connection")) == (200, "close")
    answer.read()
    late.close()
    app.leave.set()
    client.join()
    sidecar.process.communicate(timeout=15)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sidecar.port), timeout=5)


def relayed(client: socket.socket, path: bytes) -> None:
    """Ask the app through the relay, and wait for what it says."""
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    got = b""
    while not (path in got and got.endswith(b"}}")):
        piece = client.recv(1 << 16)
        assert piece
        got += piece


def test_relay_is_cut_at_the_deadline(start: Start) -> None:
    """Bytes nobody looks into end when they end, or when time is up."""
    sidecar = start(TULLE_DRAIN_SECONDS="1")
    with socket.create_connection(("127.0.0.1", sidecar.tcp), timeout=10) as client:
        relayed(client, b"/relayed")
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.becomes_unready()
        relayed(client, b"/still")
        words = sidecar.process.communicate(timeout=15)[1]
        assert "they are cut" in words
        assert sidecar.process.returncode == 0

        with contextlib.suppress(ConnectionResetError):
            while client.recv(1 << 16):
                continue


def test_access_log_nobody_reads_stops_no_traffic(start: Start) -> None:
    """Its pipe fills up; requests go on, lines are dropped and counted, whole ones are read later."""
    sidecar = start("--access-log", "json")
    client = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=10)
    path = "/" + "x" * 7000
    for _ in range(700):
        client.request("GET", path)
        assert len(client.getresponse().read()) > 7000
    client.close()
    dropped = sidecar.counter("tulle_access_log_dropped_total")
    sidecar.process.send_signal(signal.SIGTERM)
    lines = sidecar.process.communicate(timeout=15)[0].splitlines()

    assert dropped > 0
    assert {json.loads(line)["response_code"] for line in lines[:-1]} == {200}


@pytest.mark.parametrize(
    ("setting", "allowed", "reason"),
    [("TULLE_MAX_CONNECTIONS_PER_SOURCE", 2, "connections_per_source"), ("TULLE_MAX_CONNECTIONS", 3, "connections")],
)
def test_connections_beyond_a_bound_are_closed_but_never_the_admins(
    start: Start, setting: str, allowed: int, reason: str
) -> None:
    """Who looks at the sidecar still gets in, and sees that others did not."""
    sidecar = start(**{setting: str(allowed)})
    held = [socket.create_connection(("127.0.0.1", sidecar.port), timeout=10) for _ in range(allowed + 1)]
    assert held[-1].recv(1) == b""
    assert sidecar.counter(f'tulle_accept_refused_total{{reason="{reason}"}}') == 1
    for one in held:
        one.close()


def test_bad_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """What is wrong and where, no traceback, exit code 1."""
    path = tmp_path / "bad.yaml"
    path.write_text("static_resources: {listeners: [{name: a, addres: 1}]}")
    done = subprocess.run(
        [sys.executable, "-m", "dataplane", "--config", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.returncode == 1
    assert "addres" in done.stderr
    assert "Traceback" not in done.stderr


def test_sidecar_without_a_mesh_says_what_is_missing() -> None:
    """Started by hand without anything, it names the first thing it needs."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TULLE_")}
    done = subprocess.run(
        [sys.executable, "-m", "dataplane"],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.returncode == 2
    assert "TULLE_XDS_ADDRESS" in done.stderr
