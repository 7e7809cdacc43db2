"""The sidecar's own small HTTP server (port 15020): metrics, health, live configuration, the app's probes, draining.

In: connections, and handlers by method and path from `app`. Out: answers, long ones a slice at a time (`slices`). Speaks HTTP/1.1 by the proxy's own codec. Refuses
unknown paths with 404 and a list of what there is, and others than the pod itself what is the pod's own with 403; bodies are not read:
after the answer to a request whose body is still to come the connection ends. Who asks and does not read is not listened to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from dataplane.net.poller import Poller
from dataplane.net.receiver import Receiver
from dataplane.net.timers import Timer
from dataplane.protocol.events import Event, Failure, RequestHead
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits
from dataplane.slices import LongAnswer, Turns
from meshapi.addresses import loopback
from meshapi.records import field, record

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
_LIMITS = Limits(header_bytes=16 * 1024, pipeline_bytes=64 * 1024)


@record
class Request:
    """What was asked."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    peer: str
    """The caller's address."""

    def one(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    @property
    def local(self) -> bool:
        """Whether the caller sits in this pod, as coming by its loopback shows (so does `kubectl port-forward`). The pod's own address shows nothing: others may come by SNAT to it."""
        return loopback(self.peer)


@record
class Answer:
    """What is said."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    slices: Iterator[bytes] | None = None
    """The body of a long answer, in place of `body`; each is made when it is taken."""
    encoding: str = ""
    """How the body is encoded, where the caller could choose."""


def text(words: str, status: int = 200) -> Answer:
    """Answer in plain words."""
    return Answer(status=status, body=words.encode() + b"\n")


def as_json(value: Any, status: int = 200) -> Answer:
    """Answer with a JSON document."""
    return Answer(status=status, body=json.dumps(value, indent=2).encode() + b"\n", kind="application/json")


Handler = Callable[[Request], Answer | Awaitable[Answer]]


def own(handler: Handler) -> Handler:
    """Have a handler answer the pod itself alone."""

    def answer(request: Request) -> Answer | Awaitable[Answer]:
        if not request.local:
            return text(
                f"only this pod itself may ask its sidecar for {request.path}, by its loopback (127.0.0.1 or ::1); `tulle` asks the control plane",
                403,
            )
        return handler(request)

    return answer


@record(frozen=False, kw_only=False)
class Admin:
    """The routes, and what answers them."""

    poller: Poller
    routes: dict[tuple[str, str], Handler] = field(default_factory=dict)
    """By method and path; a path that ends in `/` takes everything under it."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        """Make the queue of long answers."""
        self.turns = Turns(self.poller)

    def accept(self, stream: Any) -> None:
        """Serve a connection."""
        stream.receiver = AdminConnection(self, stream)

    def find(self, method: str, path: str) -> Handler | None:
        """Return who answers, the longest path first."""
        exact = self.routes.get((method, path))
        if exact is not None:
            return exact
        under = [
            known for verb, known in self.routes if verb == method and known.endswith("/") and path.startswith(known)
        ]
        return self.routes[method, max(under, key=len)] if under else None

    def answer(self, request: Request, reply: Callable[[Answer], None]) -> None:
        """Find the handler and let it answer, now or later."""
        handler = self.find("GET" if request.method == "HEAD" else request.method, request.path)
        if handler is None:
            there = ", ".join(sorted(f"{method} {path}" for method, path in self.routes))
            reply(text(f"there is no {request.method} {request.path} here; there are {there}", 404))
            return
        try:
            answer = handler(request)
        except Exception:  # a supervisor: one broken handler must not take the sidecar's health with it
            log.exception("%s %s failed", request.method, request.path)
            reply(text("this failed; the log says why", 500))
            return
        if isinstance(answer, Answer):
            reply(answer)
            return
        task = asyncio.get_running_loop().create_task(self._later(request, answer, reply))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _later(self, request: Request, answer: Awaitable[Answer], reply: Callable[[Answer], None]) -> None:
        try:
            reply(await answer)
        except Exception:  # the same supervisor, for answers that take time
            log.exception("%s %s failed", request.method, request.path)
            reply(text("this failed; the log says why", 500))


class AdminConnection(Receiver):
    """One client of the admin port: one answer at a time, none made before most of the one before it was taken."""

    def __init__(self, admin: Admin, stream: Any) -> None:
        self._admin = admin
        self._stream = stream
        self._codec = Http1Server(_LIMITS)
        self._gone = False
        self._long: _Writing | None = None
        """A long answer under way."""
        self._ahead: Timer | None = None
        """A request sent ahead is due."""
        self._timer = admin.poller.timers.after(IDLE_SECONDS, self._idle)

    def received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._serve(self._codec.receive(data))

    def ended(self) -> None:
        """The client sends no more; an answer under way is still written."""
        self._serve(self._codec.receive_eof())

    def drained(self) -> None:
        """The client has taken most of its answers."""
        if self._long is not None:
            self._long.room()
        self._go_on()

    def lost(self, reason: str) -> None:  # noqa: ARG002 - of Receiver; why does not matter here
        """The client is gone."""
        self._gone = True
        if self._long is not None:
            self._long.gone()
            self._long = None
        self._timer.cancel()
        if self._ahead is not None:
            self._ahead.cancel()

    def _serve(self, events: list[Event]) -> None:
        for event in events:
            self._take(event)
        self._flush()

    def _go_on(self) -> None:
        """Listen again once there is room; what was sent ahead has its turn a tick later, so that traffic has one between."""
        if self._gone or self._codec.active or self._stream.high:
            return
        if not self._codec.held():
            self._stream.resume()
        elif self._ahead is None:
            self._ahead = self._admin.poller.timers.after(0.0, self._take_up)

    def _take_up(self) -> None:
        self._ahead = None
        events = self._codec.receive(b"")
        if not events:
            self._stream.resume()
        self._serve(events)

    def _idle(self) -> None:
        if self._long is not None:
            self._timer = self._admin.poller.timers.after(IDLE_SECONDS, self._idle)  # its time is bounded by `slices`
        elif self._stream.high:
            self._stream.abort()
        elif not self._codec.active:
            self._stream.close()
        else:
            self._timer = self._admin.poller.timers.after(IDLE_SECONDS, self._idle)

    def _take(self, event: Event) -> None:
        if isinstance(event, Failure):
            self._flush()
            self._stream.close()
        elif isinstance(event, RequestHead):
            self._stream.pause()
            path, _, query = event.path.decode("latin-1").partition("?")
            request = Request(
                method=event.method.decode("latin-1"),
                path=urllib.parse.unquote(path) if "%" in path else path,
                query=urllib.parse.parse_qs(query, keep_blank_values=True) if query else {},
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value, _ in event.headers},
                peer=str(self._stream.peer[0]).removeprefix("::ffff:"),
            )
            bare = event.method == b"HEAD"
            self._admin.answer(request, lambda answer: self._reply(event.stream, answer, bare))

    def _reply(self, number: int, answer: Answer, bare: bool = False) -> None:
        if self._gone:
            return
        self._timer.cancel()
        self._timer = self._admin.poller.timers.after(IDLE_SECONDS, self._idle)
        if answer.slices is not None and not bare:
            writing = self._long = _Writing(self, number, answer)
            writing.start(self._admin.turns, answer.slices)
            return
        self.send_head(number, answer, bare)
        self.send(number, answer.body, end=True)
        self._go_on()

    def send_head(self, number: int, answer: Answer, bare: bool = False) -> None:
        """Send the head of an answer; a long one's says no length."""
        headers = [(b"content-type", answer.kind.encode(), b"content-type")]
        if answer.encoding:
            headers.append((b"content-encoding", answer.encoding.encode(), b"content-encoding"))
        if answer.slices is None:
            headers.append((b"content-length", b"%d" % len(answer.body), b"content-length"))
        else:
            headers.append((b"vary", b"accept, accept-encoding", b"vary"))
        if self._codec.lacks(0):
            self._codec.goaway()  # nobody reads the rest of the request
        self._codec.send_response(number, answer.status, b"", headers, bare and answer.slices is not None)

    def send(self, number: int, data: bytes, *, end: bool = False) -> bool:
        """Send a piece of an answer; whether there is room for more."""
        self._codec.send_data(number, data, end)
        self._flush()
        return not self._stream.high

    def over(self) -> None:
        """A long answer was written, or will not be."""
        self._long = None
        self._go_on()

    def refuse(self, number: int, sentence: str) -> None:
        """Answer that there is no room."""
        self._long = None
        self._reply(number, text(sentence, 503))

    def cut(self) -> None:
        """End in the middle: a length that is not there, or a body without its end, tells that it is not whole."""
        self._long = None
        self._stream.abort()

    def _flush(self) -> None:
        data = self._codec.output()
        if data:
            self._stream.write(data)
        if self._codec.closing and not self._codec.active:
            self._stream.close()


class _Writing:
    """A long answer on its way to a connection; the `Client` of `slices`."""

    def __init__(self, connection: AdminConnection, number: int, answer: Answer) -> None:
        self._connection = connection
        self._number = number
        self._answer = answer
        self._long: LongAnswer | None = None

    def start(self, turns: Turns, slices: Iterator[bytes]) -> None:
        """Have it written."""
        self._long = turns.answer(slices, self)

    def room(self) -> None:
        """The client has taken most of it."""
        if self._long is not None:
            self._long.room()

    def gone(self) -> None:
        """The client is gone."""
        if self._long is not None:
            self._long.gone()

    def begin(self) -> None:
        """Send the head."""
        self._connection.send_head(self._number, self._answer)

    def slice(self, data: bytes) -> bool:
        """Send a slice."""
        return self._connection.send(self._number, data)

    def end(self) -> None:
        """Send the end."""
        self._connection.send(self._number, b"", end=True)
        self._connection.over()

    def refuse(self, sentence: str) -> None:
        """Say that there is no room."""
        self._connection.refuse(self._number, sentence)

    def cut(self) -> None:
        """Cut it."""
        self._connection.cut()
