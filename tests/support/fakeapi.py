"""An API server that answers what it was told, for commands whose own work is what is tested."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml


class FakeApi:
    """Answers by path: an object, a status and bytes, or a callable of the query that gives one; anything else is a 404 Status.

    What comes by port-forward is asked for at `<pod>/portforward:<port><path>`.
    """

    def __init__(self, directory: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.forwards: bytes | Literal[True] | None = True
        """Whether ports are forwarded; or what is said instead, raw, or None where that is not allowed."""
        self.kubeconfig = directory / "kubeconfig"

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        where = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qs(where.query)
        self.asked.append((method, where.path, query))
        found = self.answers.get(where.path)
        if found is None:
            return 404, {"kind": "Status", "message": f"{where.path} not found"}
        said = found(query) if callable(found) else found
        if isinstance(said, tuple):
            return said
        return (404, {"kind": "Status", "message": f"{where.path} not found"}) if said is None else (200, said)

    def write_kubeconfig(self, port: int) -> None:
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )


@contextmanager
def fake_api(directory: Path) -> Iterator[FakeApi]:
    """Serve on a free port."""
    fake = FakeApi(directory)

    class Handler(http.server.BaseHTTPRequestHandler):
        def reply(self) -> None:
            if self.headers.get("upgrade") == "websocket":
                self.forward()
                return
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = fake.answer(self.command, self.path)
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def forward(self) -> None:
            """One request over `v4.channel.k8s.io`; the answer comes in small messages."""
            if fake.forwards is None:
                self.send_error(403, "who asks may not")
                return
            path, _, query = self.path.partition("?")
            port = int(urllib.parse.parse_qs(query)["ports"][0])
            self.protocol_version = "HTTP/1.1"
            self.send_response(101)
            for name, value in (("connection", "Upgrade"), ("upgrade", "websocket")):
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            if fake.forwards is not True:
                self.wfile.write(fake.forwards)
                return
            for channel in (b"\0", b"\1"):
                self.message(channel + port.to_bytes(2, "little"))
            self.message(b"", kind=9)
            asked = self.taken()[1:].split()[1].decode()
            status, body = fake.answer("GET", f"{path}:{port}{asked}")
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            said = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(payload)}\r\n\r\n".encode() + payload
            for start in range(0, len(said), 50):
                self.message(b"\0" + said[start : start + 50])
            self.message(b"", kind=8)

        def message(self, data: bytes, kind: int = 2) -> None:
            self.wfile.write(bytes([0x80 | kind, len(data)]) + data)

        def taken(self) -> bytes:
            """Take the next message that is no pong."""
            while True:
                kind, size = self.rfile.read(2)
                size &= 0x7F
                size = int.from_bytes(self.rfile.read(2), "big") if size == 126 else size
                mask, data = self.rfile.read(4), self.rfile.read(size)
                if kind & 0x0F == 2:
                    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

        do_GET = do_POST = do_DELETE = reply  # noqa: N815 - the names http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.write_kubeconfig(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
