"""A shop of small services, plain Python and no framework: what an app in the mesh looks like (nothing of the mesh in it).

    python shop.py ROLE

web      HTTP  the front: asks catalog and reviews over HTTP and cart over gRPC for every page
catalog  HTTP  the products
reviews  HTTP  two versions of it run side by side (VERSION=v1|v2)
cart     gRPC  the basket; keeps its sums in the ledger
ledger   TCP   a line protocol of its own: "ADD name amount" answers the sum
load     HTTP  once the shop is open, asks web for pages at a steady rate (RATE a second) and tells at /stats how that went

On SIGTERM each stops taking new work, finishes what it has and goes.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "v1")
TIMEOUT = 5.0
local = threading.local()


def ask(host: str, path: str) -> dict:
    """GET a JSON document, on a connection this thread keeps open."""
    kept = local.__dict__.setdefault("connections", {})
    name, _, port = host.partition(":")
    while True:
        connection = kept.pop(host, None)
        fresh = connection is None
        connection = connection or http.client.HTTPConnection(name, int(port), timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if fresh:
                raise
            continue  # the server closed an idle connection; a new one is due
        kept[host] = connection
        if answer.status != 200:
            raise RuntimeError(f"{host}{path} answered {answer.status}: {body[:200]!r}")
        return json.loads(body)


class Page(BaseHTTPRequestHandler):
    """Answers GET with what the role's `respond(path)` returns."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    respond = staticmethod(lambda _: {})

    def do_GET(self) -> None:
        try:
            status, body = 200, self.respond(self.path)
        except Exception as error:
            status, body = 502, {"error": f"{type(error).__name__}: {error}"}
            print(f"{self.path}: {body['error']}", file=sys.stderr, flush=True)
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """One line a request is the sidecar's work."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(server: socketserver.BaseServer) -> None:
    """Run until SIGTERM, then stop listening and let the requests in hand end."""
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{sys.argv[1]} {VERSION} serves on {server.server_address}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.socket.close()
    time.sleep(0.3)


def serve_http(respond: object) -> None:
    Page.respond = staticmethod(respond)
    serve(Server(("0.0.0.0", 8080), Page))


def web() -> None:
    import grpc

    channel = grpc.insecure_channel("cart:9000")
    add = channel.unary_unary(
        "/shop.Cart/Add", request_serializer=lambda v: json.dumps(v).encode(), response_deserializer=json.loads
    )

    def respond(path: str) -> dict:
        if path == "/healthz":
            return {"ok": True}
        return {
            "products": ask("catalog:8080", "/products")["products"],
            "reviews": ask("reviews:8080", "/reviews"),
            "cart": add({"item": "tulle", "amount": 1}, timeout=TIMEOUT, wait_for_ready=True),
        }

    serve_http(respond)


def catalog() -> None:
    serve_http(lambda _: {"products": ["tulle", "organza", "voile"]})


def reviews() -> None:
    stars = {"v1": None, "v2": 5}[VERSION]
    serve_http(lambda _: {"version": VERSION, "text": "light as air", "stars": stars})


def cart() -> None:
    from concurrent import futures

    import grpc

    def add(request: dict, _: object) -> dict:
        kept = getattr(local, "ledger", None)
        for fresh in (kept is None, True):
            if fresh:
                kept = socket.create_connection(("ledger", 7000), TIMEOUT).makefile("rwb")
            try:
                kept.write(f"ADD {request['item']} {request['amount']}\n".encode())
                kept.flush()
                line = kept.readline()
            except OSError:
                line = b""
            if line:
                local.ledger = kept
                return {"sum": int(line)}
        raise RuntimeError("the ledger does not answer")

    server = grpc.server(futures.ThreadPoolExecutor(16))
    method = grpc.unary_unary_rpc_method_handler(add, json.loads, lambda v: json.dumps(v).encode())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Cart", {"Add": method}),))
    server.add_insecure_port("0.0.0.0:9000")
    server.start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print(f"cart {VERSION} serves on 9000", flush=True)
    stop.wait()
    server.stop(grace=5).wait()


def ledger() -> None:
    sums: Counter[str] = Counter()
    lock = threading.Lock()

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                verb, name, amount = line.decode().split()
                with lock:
                    sums[name] += int(amount) if verb == "ADD" else 0
                    answer = sums[name]
                self.wfile.write(f"{answer}\n".encode())

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    serve(socketserver.ThreadingTCPServer(("0.0.0.0", 7000), Lines))


def load() -> None:
    rate, threads = float(os.environ.get("RATE", "40")), int(os.environ.get("THREADS", "8"))
    lock = threading.Lock()
    seen = {"requests": 0, "failed": 0, "versions": Counter(), "errors": deque(maxlen=10), "ms": deque(maxlen=20000)}

    def one() -> None:
        begin = time.perf_counter()
        try:
            page, error = ask("web:8080", "/"), ""
        except Exception as problem:
            page, error = None, f"{type(problem).__name__}: {problem}"
        took = (time.perf_counter() - begin) * 1000
        with lock:
            seen["requests"] += 1
            if page is None:
                seen["failed"] += 1
                seen["errors"].append(error)
                print(error, file=sys.stderr, flush=True)
            else:
                seen["versions"][page["reviews"]["version"]] += 1
                seen["ms"].append(took)

    opened = threading.Event()

    def wait_for_opening() -> None:
        while True:
            try:
                ask("web:8080", "/")
            except Exception:
                time.sleep(0.2)
            else:
                opened.set()
                return

    def run(number: int) -> None:
        opened.wait()
        due = time.perf_counter() + number / rate
        while True:
            time.sleep(max(0.0, due - time.perf_counter()))
            one()
            due = max(due + threads / rate, time.perf_counter() - 1)

    def stats(path: str) -> dict:
        with lock:
            if path == "/reset":
                seen.update(requests=0, failed=0, versions=Counter())
                seen["ms"].clear()
                seen["errors"].clear()
            took = sorted(seen["ms"])

            def at(q: float) -> float | None:
                return round(took[min(len(took) - 1, int(len(took) * q))], 2) if took else None

            return {
                "requests": seen["requests"],
                "failed": seen["failed"],
                "versions": dict(seen["versions"]),
                "p50_ms": at(0.5),
                "p99_ms": at(0.99),
                "errors": list(seen["errors"]),
            }

    if rate > 0:
        threading.Thread(target=wait_for_opening, daemon=True).start()
        for number in range(threads):
            threading.Thread(target=run, args=(number,), daemon=True).start()
    serve_http(stats)


ROLES = {"web": web, "catalog": catalog, "reviews": reviews, "cart": cart, "ledger": ledger, "load": load}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:
        sys.exit(f"usage: shop.py {'|'.join(ROLES)}")
    ROLES[sys.argv[1]]()
