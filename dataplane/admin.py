"""The sidecar's own small HTTP server (port 15020): metrics, health, live configuration, the app's probes, draining.

In: connections, and handlers by method and path from `app`. Out: answers. Speaks HTTP/1.1 by the proxy's own codec. Refuses
unknown paths with 404 and a list of what there is; bodies are not read. What changes anything answers the pod itself only.
Who asks and does not read is not listened to, and while some do not, nobody else is given as much.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataplane.net.receiver import Receiver
from dataplane.net.timers import Timer, Timers
from dataplane.protocol.events import Event, Failure, RequestHead
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
UNREAD = 8
"""Clients that have not taken most of a large answer, at once: whoever reaches the port may ask, and need not read."""
_LARGE = 64 * 1024
"""Bytes of an answer that is one of those."""
_LIMITS = Limits(header_bytes=16 * 1024, pipeline_bytes=64 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
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
        """Whether the caller sits in this pod."""
        return self.peer in {"127.0.0.1", "::1"} or self.peer.startswith("127.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


def text(words: str, status: int = 200) -> Answer:
    """Answer in plain words."""
    return Answer(status=status, body=words.encode() + b"\n")


def as_json(value: Any, status: int = 200) -> Answer:
    """Answer with a JSON document."""
    return Answer(status=status, body=json.dumps(value, indent=2).encode() + b"\n", kind="application/json")


Handler = Callable[[Request], Answer | Awaitable[Answer]]


@dataclass(slots=True)
class Admin:
    """The routes, and the tasks of answers that take time."""

    timers: Timers
    routes: dict[tuple[str, str], Handler] = field(default_factory=dict)
    """By method and path; a path that ends in `/` takes everything under it."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    unread: set[AdminConnection] = field(default_factory=set)
    """Clients that have not taken most of what they were answered."""

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
        self._ahead: Timer | None = None
        """A request sent ahead is due."""
        self._timer = admin.timers.after(IDLE_SECONDS, self._idle)

    def received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._serve(self._codec.receive(data))

    def ended(self) -> None:
        """The client sends no more; an answer under way is still written."""
        self._serve(self._codec.receive_eof())

    def drained(self) -> None:
        """The client has taken most of its answers."""
        self._admin.unread.discard(self)
        self._go_on()

    def lost(self, reason: str) -> None:  # noqa: ARG002 - of Receiver; why does not matter here
        """The client is gone."""
        self._gone = True
        self._admin.unread.discard(self)
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
            self._ahead = self._admin.timers.after(0.0, self._take_up)

    def _take_up(self) -> None:
        self._ahead = None
        events = self._codec.receive(b"")
        if not events:
            self._stream.resume()
        self._serve(events)

    def _idle(self) -> None:
        if self in self._admin.unread:
            self._stream.abort()
        elif not self._codec.active:
            self._stream.close()
        else:
            self._timer = self._admin.timers.after(IDLE_SECONDS, self._idle)

    def _take(self, event: Event) -> None:
        if isinstance(event, Failure):
            self._flush()
            self._stream.close()
        elif isinstance(event, RequestHead):
            self._stream.pause()
            path, _, query = event.path.decode("latin-1").partition("?")
            request = Request(
                method=event.method.decode("latin-1"),
                path=urllib.parse.unquote(path),
                query=urllib.parse.parse_qs(query, keep_blank_values=True),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value, _ in event.headers},
                peer=str(self._stream.peer[0]).removeprefix("::ffff:"),
            )
            self._admin.answer(request, lambda answer: self._reply(event.stream, answer))

    def _reply(self, number: int, answer: Answer) -> None:
        if self._gone:
            return
        self._timer.cancel()
        self._timer = self._admin.timers.after(IDLE_SECONDS, self._idle)
        if len(answer.body) > _LARGE and len(self._admin.unread) >= UNREAD and self not in self._admin.unread:
            answer = text(f"{UNREAD} clients have not read as much yet; try again", 503)
        kind, size = answer.kind.encode(), b"%d" % len(answer.body)
        headers = [(b"content-type", kind, b"content-type"), (b"content-length", size, b"content-length")]
        self._codec.send_response(number, answer.status, b"", headers, False)
        self._codec.send_data(number, answer.body, True)
        self._flush()
        if self._stream.high:
            self._admin.unread.add(self)
        self._go_on()

    def _flush(self) -> None:
        data = self._codec.output()
        if data:
            self._stream.write(data)
        if self._codec.closing and not self._codec.active:
            self._stream.close()
