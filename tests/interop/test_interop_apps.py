"""Small programs of Node and Go as apps and as clients: how real HTTP libraries upload, keep connections and give up."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.mesh import MeshPair
from tests.support.peers import program, run
from tests.support.sidecar import Sidecar

APPS = Path(__file__).parent / "apps"
TIMES = 4
SOON = 5.0
"""Seconds; a server that is not told hears of it after a minute."""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """How each language's program is called; Go's is compiled once."""
    directory = tmp_path_factory.mktemp("go")
    built = directory / "app"
    environment = {
        "GOCACHE": str(directory / "cache"),
        "GOFLAGS": "-mod=mod",
        "GOPATH": str(directory),
        "GO111MODULE": "off",
    }
    go = subprocess.run(
        [program("go"), "build", "-o", str(built), str(APPS / "app.go")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert go.returncode == 0, go.stderr
    return {"node": [program("node"), str(APPS / "app.js")], "go": [str(built)]}


class App:
    """A running app, and what it says, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._said: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(process,))
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self._said.put(line.strip())

    def hear(self, word: str) -> None:
        """Wait until it says so; fails when that takes long."""
        while self._said.get(timeout=SOON) != word:
            pass

    def join(self) -> None:
        self._reader.join()


@contextmanager
def serving(command: list[str], port: int) -> Iterator[App]:
    """Run an app on a port."""
    with subprocess.Popen([*command, "serve", str(port)], stdout=subprocess.PIPE, text=True) as process:
        app = App(process)
        try:
            app.hear("ready")
            yield app
        finally:
            process.terminate()
            process.wait(10)
            app.join()


@pytest.fixture(scope="module", params=["node", "go"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["one sidecar", "two sidecars"])
def way(request: pytest.FixtureRequest, proxy: tuple[Sidecar, dict[str, int]], pair: MeshPair) -> tuple[int, int]:
    """The port clients connect to, and the app's."""
    ports = proxy[1] if request.param == "one sidecar" else pair.ports
    return ports["any"], ports["app"]


@pytest.fixture(scope="module")
def app(way: tuple[int, int], language: str, programs: dict[str, list[str]]) -> Iterator[App]:
    with serving(programs[language], way[1]) as made:
        yield made


def uploaded(command: list[str], how: str, port: int, path: str) -> dict[str, object]:
    return dict(json.loads(run(*command, how, str(port), path, str(TIMES))))


@pytest.mark.parametrize("path", ["/early", "/earlyclose"])
@pytest.mark.parametrize(("client", "how"), [("node", "upload"), ("node", "fetch"), ("go", "upload")])
@pytest.mark.usefixtures("app")
def test_answer_before_the_end_of_an_upload_reaches_its_client(
    way: tuple[int, int], programs: dict[str, list[str]], client: str, how: str, path: str
) -> None:
    """A refused upload of 8 MB is a 413 each time, never a 503 and never an error of the connection."""
    told = uploaded(programs[client], how, way[0], path)

    wanted = {"413": TIMES} if how == "fetch" else {"413": TIMES, "200": TIMES}
    assert told["statuses"] == wanted
    if client == "node" and how == "upload":
        assert told["sockets"] == 1, "the connection was not kept"


def test_cancelled_request_is_told_at_once(way: tuple[int, int], app: App) -> None:
    """A client that closes is gone, and the app's handler learns of it."""
    with socket.create_connection(("127.0.0.1", way[0])) as client:
        client.sendall(b"GET /sleep HTTP/1.1\r\nHost: app\r\n\r\n")
        app.hear("waiting")
    app.hear("cancelled")
