"""What runs in the pods of the chaos tests: servers that speak every protocol, and who calls them. Plain Python, nothing of the mesh in it.

    python party.py serve NAME     HTTP/1.1 on 8080, HTTP/2 on 8081, gRPC on 9000, lines over TCP on 7000; NAME opens every answer
    python party.py call           the load: workers of every kind, told on standard output as JSON lines
    python party.py linger         calls by gRPC until SIGTERM, and for LINGER seconds after it

A server takes WORK seconds for an answer. On SIGTERM it takes no new work, finishes what it has and goes. A caller writes a line for each failure:
`{"at", "kind", "how", "words"}`, and every quarter of a second how many succeeded: `{"at", "done": {kind: n}}`. `how` is `cut` (under way when it ended),
`refused` (nothing got through on a new connection), `answer` (an answer that is none), `wrong` (somebody else answered) or `late`.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORK = float(os.environ.get("WORK", "0.02"))
PAUSE = float(os.environ.get("PAUSE", "0.06"))
PATIENCE = 8.0
CONNECTION_LIFE = 60
"""Requests on a keep-alive connection before the next is opened, as clients do: one that was opened while its port was declared opaque ends with its server."""
STREAM_LIFE = 40
"""Messages of a gRPC stream before the next is begun."""
done: Counter[str] = Counter()
stop = threading.Event()


def say(line: dict) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class FailedError(Exception):
    """A request that came to nothing; its first word says how."""


# Servers


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != "/ready":
            time.sleep(WORK)
        body = name().encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while not stop.is_set():
            line = self.rfile.readline()
            if not line:
                return
            time.sleep(WORK)
            self.wfile.write(name().encode() + b" " + line)


class LineServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Http2(socketserver.BaseRequestHandler):
    """HTTP/2 with prior knowledge, one stream after the other."""

    def handle(self) -> None:
        import h2.config
        import h2.connection
        import h2.events

        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        self.request.settimeout(0.2)
        self.request.sendall(connection.data_to_send())
        said = False
        while True:
            if stop.is_set() and not said:
                said = True
                connection.close_connection()  # GOAWAY: what came so far was answered
                self.request.sendall(connection.data_to_send())
                return
            try:
                data = self.request.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    time.sleep(WORK)
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, name().encode(), end_stream=True)
                elif isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.request.sendall(connection.data_to_send())


def name() -> str:
    return f"{sys.argv[2]} {os.uname().nodename}"


def serve() -> None:
    import grpc

    def talk(requests: object, _: object) -> object:
        for request in requests:  # type: ignore[attr-defined]
            time.sleep(WORK)
            yield name().encode() + b" " + request

    rpc = grpc.server(futures.ThreadPoolExecutor(64))
    handlers = {
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Say": grpc.unary_unary_rpc_method_handler(lambda request, _: name().encode() + b" " + request),
    }
    rpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("party.Chat", handlers),))
    rpc.add_insecure_port("0.0.0.0:9000")
    rpc.start()
    servers = [HttpServer(("0.0.0.0", 8080), Page), LineServer(("0.0.0.0", 8081), Http2)]
    servers.append(LineServer(("0.0.0.0", 7000), Lines))
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    stop.wait()
    for server in servers:
        server.shutdown()
        server.socket.close()
    rpc.stop(grace=5).wait()
    time.sleep(0.3)


# Callers


def split(place: str) -> tuple[str, int]:
    host, _, port = place.partition(":")
    return host, int(port)


def expect(place: str, said: bytes) -> None:
    """Whoever answers says its name first: an address that somebody else got shows here."""
    wanted = place.partition(":")[0].partition(".")[0].encode()
    known = WHO.get(wanted, wanted)
    if known and not said.startswith(known + b" "):
        raise FailedError("wrong", f"{place} answered {said[:80]!r}")


WHO = {b"web": b"", b"other": b"solo"}
"""Services whose servers have another name (or give pages)."""


@contextmanager
def on_a_connection(close: Callable[[], None], *, fresh: bool) -> Iterator[None]:
    """What goes wrong with a connection while it is used ends it and is a failure; on a fresh one, nothing got through."""
    try:
        yield
    except TimeoutError:
        close()
        raise FailedError("late", "no answer") from None
    except (OSError, http.client.HTTPException) as error:
        close()
        raise FailedError("refused" if fresh else "cut", repr(error)) from None


class SocketCaller:
    """What speaks on a socket of its own, while it has one."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.socket: socket.socket | None = None

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None


class Http1Caller:
    """One keep-alive connection, a request after the other."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.connection: http.client.HTTPConnection | None = None
        self.left = 0

    def once(self) -> None:
        fresh = self.connection is None
        self.left = CONNECTION_LIFE if fresh else self.left - 1
        connection = self.connection or http.client.HTTPConnection(*split(self.place), timeout=PATIENCE)
        self.connection = None
        with on_a_connection(connection.close, fresh=fresh):
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != 200:
            raise FailedError("answer", f"{answer.status} {answer.getheader('x-tulle-error')} {body[:200]!r}")
        if self.left and not answer.will_close:
            self.connection = connection
        else:
            connection.close()
        expect(self.place, body)


class OnceCaller(Http1Caller):
    """A connection for each request."""

    def once(self) -> None:
        try:
            super().once()
        finally:
            if self.connection is not None:
                self.connection.close()
            self.connection = None


class Http2Caller(SocketCaller):
    """One HTTP/2 connection, a stream after the other; a stream that a GOAWAY left out is asked again, as HTTP/2 has it."""

    def once(self) -> None:
        for _ in range(3):
            fresh = self.socket is None
            with on_a_connection(self.close, fresh=fresh):
                if fresh:
                    self.connect()
                if self.ask():
                    return
            self.close()
        raise FailedError("refused", "three connections said GOAWAY")

    def connect(self) -> None:
        import h2.config
        import h2.connection

        self.socket = socket.create_connection(split(self.place), PATIENCE)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.socket.sendall(self.h2.data_to_send())

    def ask(self) -> bool:
        """Ask once; False when this connection takes no more streams."""
        import h2.events
        import h2.exceptions

        try:
            stream = self.h2.get_next_available_stream_id()
            head = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": self.place}
            self.h2.send_headers(stream, list(head.items()), end_stream=True)
        except h2.exceptions.ProtocolError:
            return False
        self.socket.sendall(self.h2.data_to_send())
        status, body, left, going = "", b"", False, False
        while True:
            data = self.socket.recv(65536)
            if not data:
                if left:
                    return False
                raise ConnectionResetError("the connection ended under a stream")
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    going = True
                    left = (event.last_stream_id or 0) < stream
                elif getattr(event, "stream_id", None) != stream:
                    continue
                elif isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status" if isinstance(event.headers[0][0], bytes) else ":status"]
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    if event.error_code == 7:  # REFUSED_STREAM: not begun
                        return False
                    raise FailedError("cut", f"the stream was reset: {event.error_code}")
                elif isinstance(event, h2.events.StreamEnded):
                    self.socket.sendall(self.h2.data_to_send()) if not going else self.close()
                    said = status.decode() if isinstance(status, bytes) else status
                    if said != "200":
                        raise FailedError("answer", f"{said} {body[:200]!r}")
                    expect(self.place, body)
                    return True
            if left:
                return False
            self.socket.sendall(self.h2.data_to_send())


def channel(place: str) -> object:
    """Give a channel with a connection of its own, that asks nothing twice."""
    import grpc

    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(place, options=options)


class UnaryCaller:
    def __init__(self, place: str) -> None:
        self.place = place
        self.channel = channel(place)
        self.say = self.channel.unary_unary("/party.Chat/Say")

    def once(self) -> None:
        import grpc

        try:
            said = self.say(b"x", timeout=PATIENCE)
        except grpc.RpcError as error:
            raise FailedError(*rpc(error)) from None
        expect(self.place, said)


def rpc(error: object) -> tuple[str, str]:
    code = error.code().name  # type: ignore[attr-defined]
    words = f"{code} {error.details()}"  # type: ignore[attr-defined]
    return ("late" if code == "DEADLINE_EXCEEDED" else "cut"), words


class StreamCaller:
    """A message at a time through a stream both ways, and after STREAM_LIFE of them the next stream."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.channel = channel(place)
        self.talk = self.channel.stream_stream("/party.Chat/Talk")
        self.requests: queue.SimpleQueue | None = None
        self.answers: object = None
        self.left = 0

    def once(self) -> None:
        import grpc

        if self.requests is None:
            self.requests = queue.SimpleQueue()
            self.answers = self.talk(iter(self.requests.get, None))
            self.left = STREAM_LIFE
        self.requests.put(b"x")
        try:
            said = next(self.answers)
            self.left -= 1
            if not self.left:
                self.end()
                for _ in self.answers:
                    pass
        except StopIteration:
            self.end()
            raise FailedError("cut", "the stream ended early") from None
        except grpc.RpcError as error:
            self.end()
            raise FailedError(*rpc(error)) from None
        expect(self.place, said)

    def end(self) -> None:
        self.requests.put(None)
        self.requests = None


class LineCaller(SocketCaller):
    """One connection for as long as it lives; that it ends between two lines is no failure."""

    def once(self) -> None:
        if self.socket is not None and self.has_ended():
            self.close()
        fresh = self.socket is None
        with on_a_connection(self.close, fresh=fresh):
            if self.socket is None:
                self.socket = socket.create_connection(split(self.place), PATIENCE)
                self.file = self.socket.makefile("rwb")
            self.file.write(b"x\n")
            self.file.flush()
            said = self.file.readline()
            if not said:
                raise ConnectionResetError("it ended under a line")
        expect(self.place, said)

    def has_ended(self) -> bool:
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)


CALLERS = (
    ("http1", Http1Caller, "echo:8080", 1.0),
    ("http1", Http1Caller, "echo:8080", 1.0),
    ("http2", Http2Caller, "echo:8081", 1.0),
    ("http2", Http2Caller, "echo:8081", 1.0),
    ("unary", UnaryCaller, "echo:9000", 1.0),
    ("stream", StreamCaller, "echo:9000", 1.0),
    ("stream", StreamCaller, "echo:9000", 1.0),
    ("lines", LineCaller, "echo:7000", 1.0),
    ("lines", LineCaller, "echo:7000", 1.0),
    ("other", Http1Caller, "other:8080", 1.0),
    ("page", Http1Caller, "web.shop:8080", 4.0),
    ("quiet", OnceCaller, "quiet:8080", float(os.environ.get("QUIET", "11")) / PAUSE),
)
"""Kind, class, place and how much longer than others it pauses."""


def once(kind: str, caller: object) -> None:
    """Have a caller call once: counted, or told where it fails."""
    try:
        caller.once()  # type: ignore[attr-defined]
    except FailedError as failure:
        how, words = failure.args
        say({"at": time.time(), "kind": kind, "how": how, "words": words})
    else:
        done[kind] += 1


def work(kind: str, caller: object, pauses: float) -> None:
    while not stop.wait(PAUSE * pauses):
        once(kind, caller)


def call() -> None:
    for kind, class_, place, pauses in CALLERS:
        threading.Thread(target=work, args=(kind, class_(place), pauses), daemon=True).start()
    while not stop.wait(0.25):
        say({"at": time.time(), "done": dict(done)})


def linger() -> None:
    caller, ends = UnaryCaller("echo:9000"), 0.0
    say({"ready": True})
    while not ends or time.time() < ends:
        if stop.is_set() and not ends:
            ends = time.time() + float(os.environ.get("LINGER", "3"))
        once("ending" if ends else "linger", caller)
        time.sleep(0.03)
    say({"done": dict(done)})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    {"serve": serve, "call": call, "linger": linger}[sys.argv[1]]()
