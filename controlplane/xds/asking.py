"""Questions to sidecars: what only a pod itself may see of its sidecar, asked over the stream the sidecar opened.

In: a pod, and a path of its sidecar's admin port (`xds.ASKABLE`). Out: what the sidecar says, as it would at that port. The question goes with the sidecar's ADS stream, the answer comes by a
call of its own, on the same connection, and is taken from nobody but the sidecar that was asked: the name of the question is a secret, and the token is that of its identity. Refuses, with a
status of HTTP and a sentence: other paths (404), pods without a stream here (421: another replica may have it), sidecars older than the question (501), a second question to one sidecar or more
than `MOST` in all, and what is more than `HELD` together (503), what is larger than `BYTES`, or neither JSON nor text, or of a stream that ends (502), what is later than `SECONDS` (504).
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc.aio import EOF  # type: ignore[attr-defined]

from controlplane.ca.access import Denied, Identify, authorization_of
from controlplane.ca.tokens import Caller
from controlplane.xds import messages
from controlplane.xds.server import Stream
from meshapi import xds

MOST = 16
"""Questions under way at once."""
BYTES = 32 * 1024 * 1024
"""Of an answer; the configuration of a sidecar that uses thousands of destinations is a few."""
HELD = 64 * 1024 * 1024
"""Of all answers that are being taken, or read by who asked."""
SECONDS = 10.0
LONGEST = 8192
"""Characters of a path and its query."""
KINDS = frozenset({"application/json", "text/plain"})
"""What an answer may be: it is shown under the name of whoever passes it on, and nothing of a sidecar runs there."""
_WITHOUT_BODY = frozenset({204, 205, 304})
"""Statuses after which a client takes a body for the next response (RFC 9112, 6.3)."""
_HEAD_BYTES = 1024

log = logging.getLogger(__name__)


class NotAnsweredError(Exception):
    """There is no answer; `status` is one of HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a sidecar says."""

    status: int
    kind: str
    body: bytes | bytearray


@dataclass(slots=True, kw_only=True, eq=False)
class _Question:
    """One question under way."""

    stream: Stream
    told: asyncio.Future[Told] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    body: bytearray = field(default_factory=bytearray)

    def fail(self, status: int, sentence: str) -> None:
        """End it without an answer, unless it has ended."""
        if not self.told.done():
            self.told.set_exception(NotAnsweredError(status, sentence))


class Asking:
    """Asks the sidecars that have a stream here."""

    def __init__(self, streams: Callable[[], Iterable[Stream]], identify: Identify) -> None:
        self._streams = streams
        self._identify = identify
        self._questions: dict[str, _Question] = {}
        """Under way, by their names."""

    @asynccontextmanager
    async def ask(self, namespace: str, pod: str, asked: str) -> AsyncIterator[Told]:
        """Ask a pod's sidecar for a path. The answer is held, and counted, while the context lasts. Raises NotAnsweredError."""
        stream = self._stream(namespace, pod, asked)
        name = secrets.token_hex(16)
        question = self._questions[name] = _Question(stream=stream)

        def ended() -> None:
            question.fail(502, f"the stream of {namespace}/{pod} ended")

        def said(what: asyncio.Future[None]) -> None:
            if what.cancelled() or what.exception() is not None:
                ended()

        stream.over = ended
        try:
            stream.say(messages.question(name, asked)).add_done_callback(said)
            try:
                async with asyncio.timeout(SECONDS):
                    told = await question.told
            except TimeoutError:
                sentence = f"the sidecar of {namespace}/{pod} did not answer in {SECONDS:.0f} s"
                raise NotAnsweredError(504, sentence) from None
            yield told
        finally:
            stream.over = None
            question.body = bytearray()  # a sidecar may still be at it
            del self._questions[name]

    def _stream(self, namespace: str, pod: str, asked: str) -> Stream:
        """Find the stream to ask on; raises NotAnsweredError."""
        if asked.partition("?")[0] not in xds.ASKABLE or len(asked) > LONGEST or not asked.isascii():
            raise NotAnsweredError(404, f"a sidecar can be asked for {', '.join(xds.ASKABLE)}, in {LONGEST} characters")
        of_pod = [one for one in self._streams() if (one.peer.namespace, one.peer.pod) == (namespace, pod)]
        if not of_pod:
            raise NotAnsweredError(421, f"the sidecar of {namespace}/{pod} is not connected to this replica")
        able = [one for one in of_pod if one.delta and one.peer.answers]  # its app may speak xDS as well
        if not able:
            version = max(of_pod, key=lambda one: one.since).peer.version
            raise NotAnsweredError(
                501,
                f"the sidecar of {namespace}/{pod} is of release {version or 'unknown'}, which cannot be asked by the control plane; "
                f"make the pod anew",
            )
        stream = max(able, key=lambda one: one.since)
        if len(self._questions) >= MOST or any(one.stream is stream for one in self._questions.values()):
            raise NotAnsweredError(
                503, f"the sidecar of {namespace}/{pod}, or {MOST} others, are being asked; try again"
            )
        if stream.saying is not None and not stream.saying.done():
            raise NotAnsweredError(503, f"the sidecar of {namespace}/{pod} has not read the last question; try again")
        return stream

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The method sidecars answer by."""
        service, _, method = xds.ANSWER.strip("/").partition("/")
        return grpc.method_handlers_generic_handler(
            service, {method: grpc.stream_unary_rpc_method_handler(self._answered)}
        )

    async def _answered(self, _: Any, context: Any) -> bytes:
        try:
            metadata = context.invocation_metadata()
            caller = await self._identify(authorization_of(metadata), context.peer())
            await self._take(caller, _named(metadata), context)
        except Denied as denied:
            log.warning("an answer was refused to %s: %s", context.peer(), denied)
            await context.abort(denied.code, str(denied))
        return b""

    async def _take(self, caller: Caller, name: str, context: Any) -> None:
        """Take an answer; raises Denied."""
        question = self._questions.get(name)
        if question is None or question.told.done() or not _is(caller, question.stream):
            raise Denied(grpc.StatusCode.NOT_FOUND, "nobody asked this sidecar that, or nobody waits any more")
        try:
            async with asyncio.timeout(SECONDS):
                told = await self._read(question, context)
            question.told.set_result(told)
        except Denied as denied:
            question.fail(503 if denied.code is grpc.StatusCode.UNAVAILABLE else 502, str(denied))
            raise
        except TimeoutError:
            raise Denied(grpc.StatusCode.DEADLINE_EXCEEDED, "nobody waits any more") from None
        finally:  # also where the sidecar gave it up, or is gone
            question.fail(502, "the answer was cut")

    async def _read(self, question: _Question, context: Any) -> Told:
        """Read an answer; raises Denied."""
        head = None
        while (piece := await context.read()) is not EOF:
            if question.told.done():
                raise Denied(grpc.StatusCode.NOT_FOUND, "nobody waits any more")
            if head is None:
                head = _head(piece)
                continue
            if len(question.body) + len(piece) > BYTES:
                raise Denied(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the answer is longer than {BYTES} bytes")
            if sum(len(one.body) for one in self._questions.values()) + len(piece) > HELD:
                raise Denied(grpc.StatusCode.UNAVAILABLE, "too much is being answered at once; try again")
            question.body += piece
        if head is None or question.told.done():
            raise Denied(grpc.StatusCode.INVALID_ARGUMENT, "the answer is empty, or late")
        return Told(status=head[0], kind=head[1], body=question.body)


def _named(metadata: Any) -> str:
    return next((str(value) for key, value in metadata or () if key == xds.ANSWER_TO), "")


def _is(caller: Caller, stream: Stream) -> bool:
    """Whether a caller is who has a stream."""
    peer = stream.peer
    return str(caller.identity) == peer.identity and caller.pod in {"", peer.pod}


def _head(raw: bytes) -> tuple[int, str]:
    """Read what comes first; raises Denied."""
    try:
        said = json.loads(raw[:_HEAD_BYTES])
        status, kind = int(said["status"]), str(said["kind"]).partition(";")[0].strip().lower()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise Denied(grpc.StatusCode.INVALID_ARGUMENT, "an answer begins with its status and kind") from None
    if not 200 <= status < 600 or status in _WITHOUT_BODY or kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise Denied(
            grpc.StatusCode.INVALID_ARGUMENT, f"an answer has a status of HTTP that may have a body, and is {known}"
        )
    return status, kind
