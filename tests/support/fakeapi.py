"""An API server that answers what it was told, for commands whose own work is what is tested."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml


class FakeApi:
    """Answers by path: an object, a status and bytes, or a callable of the query that gives one; anything else is a 404 Status."""

    def __init__(self, directory: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
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
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = fake.answer(self.command, self.path)
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

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
