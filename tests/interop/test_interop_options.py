"""Options of Envoy's connection manager that are done here too: the same file and paths to both, and the app gets the same path."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.interop.mesh import one
from tests.support.ports import free_ports
from tests.support.sidecar import chain, cluster, listener, to, write
from tests.support.sidecar import http as manager

OPTIONS: dict[str, dict[str, Any]] = {
    "normalize": {"normalize_path": True},
    "merge": {"merge_slashes": True},
    "both": {"normalize_path": True, "merge_slashes": True},
    "reject": {"path_with_escaped_slashes_action": "REJECT_REQUEST"},
    "unescape": {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
    "redirect": {"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "normalize_path": True},
    "no websocket": {"upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}]},
}
PATHS = (
    *("/a/../b?x=/../y", "/a/./b/.", "/a/..", "/../../a", "/a/%2e%2E/b", "/a\\..\\b", "/a//../b", "/a//b", "/"),
    *("/a%2Fb?%2f", "/a%5cb", "/a/%2f..%2Fb", "//a///b//", "/.a/..b", "/a;x/b"),
    *(
        "/a/..;/b",
        "/a/.;/b",
        "/a/..;x=1/b",
        "/a/%2eb",
        "/%61%7E",
        "/%c3%BC%2D%41%5a%7a",
        "/a/b/..;",
        "/a/b/.;x",
        "/a/..;%2fb",
        "/a/..b;/c",
    ),
)
Answers = dict[tuple[str, str, bool], tuple[int, str]]


class Echo(BaseHTTPRequestHandler):
    """Answers with the path it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def ask(port: int, path: str, *, upgrade: bool) -> tuple[int, str]:
    """Return the status, and the path the app was asked for or the client is sent to."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.putrequest("GET", path, skip_accept_encoding=True)
        if upgrade:
            client.putheader("connection", "upgrade")
            client.putheader("upgrade", "websocket")
        client.endheaders()
        answer = client.getresponse()
        body = answer.read().decode()
        if answer.status == 200:
            return 200, body
        where = urlsplit(answer.getheader("location") or "")
        return answer.status, where.path
    finally:
        client.close()


@pytest.fixture(scope="module")
def answers(app: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What each proxy makes of each path under each option."""
    folder = tmp_path_factory.mktemp("options")
    found: dict[str, Answers] = {}
    for kind in ("envoy", "sidecar"):
        ports = dict(zip(OPTIONS, free_ports(len(OPTIONS)), strict=True))
        listeners = [listener(name, ports[name], chain(manager([to("app")], **more))) for name, more in OPTIONS.items()]
        config = write(folder / f"{kind}.json", listeners, [cluster("app", app)])
        with one(kind, config, folder, *ports.values(), pooled=4):
            found[kind] = {
                (name, path, False): ask(port, path, upgrade=False) for name, port in ports.items() for path in PATHS
            }
            found[kind]["no websocket", "/", True] = ask(ports["no websocket"], "/", upgrade=True)
    return found


@pytest.mark.parametrize("option", OPTIONS)
def test_option_does_to_paths_and_upgrades_what_it_does_in_envoy(answers: dict[str, Answers], option: str) -> None:
    """Status, and what the app sees or the client is told."""
    ours, theirs = (
        {key: got for key, got in answers[kind].items() if key[0] == option} for kind in ("sidecar", "envoy")
    )

    assert ours == theirs
