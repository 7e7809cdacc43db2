"""The grpc.aio shell of ADS: the port, the streams on it, their limits, and their graceful end.

In: streams of bytes from clients; what changed, told to each stream's queue by its catalogue. Out: bytes. Messages pass through without gRPC's serialisers, since they
are put together from parts encoded
once. A stream is refused with a status and one log line when its caller or node is; it ends with OK when this replica drains, spread over the
drain time, so that not all sidecars meet the other replicas at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc.aio import EOF  # type: ignore[attr-defined]

from controlplane.bounds import NAMES, STREAMS, FullError, Shares, Who
from controlplane.ca.access import Denied, Identify, authorization_of
from controlplane.timing import Histogram
from controlplane.xds import messages
from controlplane.xds.callers import Callers, Peer
from controlplane.xds.pace import Pace
from controlplane.xds.pushqueue import Key, PushQueue
from controlplane.xds.stream import Catalogue, Conversation, Nack
from meshapi import xds
from meshapi.xds import Type

FIRST_MESSAGE_SECONDS = 30.0
OPTIONS = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_metadata_size", 32 * 1024),
    # A dead peer is found in half a minute; sidecars may ping as they like.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
    # Connections end now and then, so that load spreads over replicas and callers prove themselves anew.
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
    ("grpc.so_reuseport", 0),
    # Bytes of a TLS record. Each connection keeps buffers for the largest it has written, 16 KiB by default; a push is rarely longer than this.
    ("grpc.tsi.max_frame_size", 4096),
    # Requests are small: no ping after each to see how large a window would pay.
    ("grpc.http2.bdp_probe", 0),
)

log = logging.getLogger(__name__)


class ResourceSource(Protocol):
    """What the hub needs of the mesh: a catalogue for each peer, and somebody to tell what peers use."""

    def catalogue(self, peer: Peer, tell: Callable[[Iterable[Key], float], None]) -> Catalogue:
        """Give the catalogue of a peer's view, which tells what of it has changed."""

    def joined(self, peer: Peer) -> None:
        """Note that a peer has a stream."""

    def subscribed(self, peer: Peer, added: Iterable[str], dropped: Iterable[str]) -> None:
        """Note the listeners a peer asked for and let go."""

    def left(self, peer: Peer, names: Iterable[str]) -> None:
        """Note that a peer's stream is over, which was subscribed to these listeners."""


class Stream:
    """One ADS stream, as the hub and `/proxies` see it; the `StreamListener` of its conversation."""

    __slots__ = (
        "_hub",
        "conversation",
        "counted",
        "delta",
        "nacks",
        "over",
        "peer",
        "queue",
        "saying",
        "since",
        "write",
    )

    def __init__(self, hub: Hub, peer: Peer, source: ResourceSource, *, delta: bool) -> None:
        self._hub = hub
        self.peer = peer
        self.delta = delta
        self.since = time.time()
        self.queue = PushQueue(hub.pace)
        self.nacks: dict[Type, str] = {}
        self.counted = 0
        """Names subscribed to, of all types."""
        self.write: Callable[[bytes], Awaitable[None]] | None = None
        """Sends a message, after what is being sent; there is none where the stream is over."""
        self.saying: asyncio.Future[None] | None = None
        """What was said last."""
        self.over: Callable[[], None] | None = None
        """Called once when the stream ends."""
        self.conversation = Conversation(source.catalogue(peer, self.queue.add), delta=delta, listener=self)

    @property
    def waiting_since(self) -> float:
        """When the oldest change was seen that this client has not answered yet, by the loop's clock; 0 where it has answered all."""
        subscriptions = self.conversation.subscriptions.values()
        found = (self.queue.waiting_since, *(each.waiting_since for each in subscriptions))
        return min(filter(None, found), default=0.0)

    def say(self, message: bytes) -> asyncio.Future[None]:
        """Send a message of its own kind, between responses. It may wait long, for a client that does not read, and nobody may cut it: after half a write there is no other on the stream."""
        if self.write is None:
            raise ValueError("the stream is over")
        self.saying = asyncio.ensure_future(self.write(message))
        return self.saying

    def named(self, type_: Type, added: frozenset[str], dropped: frozenset[str]) -> None:
        """Names were subscribed to, or let go."""
        self._hub.interest(self, type_, added, dropped)

    def introduced(self, node: messages.Node) -> None:
        """The client says what it has to say of itself."""
        self.peer = self.peer.told(node)

    def settled(self, seen: float) -> None:
        """A change is acknowledged."""
        self._hub.acknowledged.observe(asyncio.get_running_loop().time() - seen)

    def refused(self, nack: Nack) -> None:
        """A response was refused: logged once, shown until the next."""
        self._hub.nacked += 1
        if self.nacks.get(nack.type) != nack.sentence:
            self.nacks[nack.type] = nack.sentence
            named = ", ".join(nack.names[:5]) or "a response"
            log.warning(
                "%s/%s refused %s %s: %s", self.peer.namespace, self.peer.pod, nack.type.name, named, nack.sentence
            )


class Hub:
    """All streams of this replica."""

    def __init__(
        self,
        source: ResourceSource,
        identify: Identify,
        callers: Callers,
        limit: int,
        origin: Callable[[str], Who] = lambda _: Who(),
    ) -> None:
        self._source = source
        self._identify = identify
        self._origin = origin
        self._callers = callers
        self._limit = limit
        self.streams: set[Stream] = set()
        self.opening = Shares("streams that have not said who they are", STREAMS)
        self.held = Shares("streams", STREAMS)
        self.names = Shares("subscribed names", NAMES)
        self._empty = asyncio.Event()
        self.pace = Pace()
        self.acknowledged = Histogram()
        """From a change seen to its acknowledgement by a stream."""
        self.draining = False
        self.pushes = 0
        self.nacked = 0
        self.denied = 0

    def interest(self, stream: Stream, type_: Type, added: frozenset[str], dropped: frozenset[str]) -> None:
        """Note what a stream is subscribed to from now on, and what no longer; raises Denied where its pod or node has too much."""
        if type_ is Type.LISTENER:
            self._source.subscribed(stream.peer, added, dropped)
        self.names.give(stream.peer.who, len(dropped))
        stream.counted -= len(dropped)
        _take(self.names, stream.peer.who, len(added))
        stream.counted += len(added)

    async def drain(self, seconds: float) -> None:
        """End all streams, spread over a time."""
        self.draining = True
        if not self.streams:
            return
        loop = asyncio.get_running_loop()
        for stream in self.streams:
            loop.call_later(random.uniform(0, seconds * 0.8), stream.queue.end)  # noqa: S311 - spread
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d streams did not end within %s s", len(self.streams), seconds)

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The two ADS methods."""
        service, _, delta = xds.ADS_DELTA.strip("/").partition("/")
        world = xds.ADS_SOTW.rpartition("/")[2]
        return grpc.method_handlers_generic_handler(
            service,
            {
                delta: grpc.stream_stream_rpc_method_handler(self._delta),
                world: grpc.stream_stream_rpc_method_handler(self._world),
            },
        )

    async def _delta(self, _: Any, context: Any) -> None:
        await self._serve(context, delta=True)

    async def _world(self, _: Any, context: Any) -> None:
        await self._serve(context, delta=False)

    async def _serve(self, context: Any, *, delta: bool) -> None:
        try:
            first, peer = await self._opened(context, delta=delta)
            if first is EOF:
                return
            _take(self.held, peer.who)
        except Denied as denied:
            await self._refuse(context, denied)
        except messages.BadRequestError as error:
            await self._refuse(context, Denied(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except TimeoutError:
            await self._refuse(context, Denied(grpc.StatusCode.DEADLINE_EXCEEDED, "no first message came"))
        else:
            await self._converse(Stream(self, peer, self._source, delta=delta), context, first)

    async def _opened(self, context: Any, *, delta: bool) -> tuple[Any, Any]:
        """Find out who opens a stream; the first message (EOF for none) and the peer. Raises Denied, BadRequestError or TimeoutError."""
        if self.draining or len(self.streams) >= self._limit:
            reason = "this replica is ending" if self.draining else f"this replica serves {self._limit} streams already"
            raise Denied(grpc.StatusCode.UNAVAILABLE, f"{reason}, try another")
        origin = self._origin(context.peer())
        _take(self.opening, origin)
        try:
            caller = await self._identify(authorization_of(context.invocation_metadata()), context.peer())
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                first = await context.read()
            if first is EOF:
                return EOF, None
            _, _, node = messages.decode(first, delta=delta)
            if node is None:
                raise Denied(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a stream must carry the node")
            return first, await self._callers.admit(caller, node)
        finally:
            self.opening.give(origin)

    async def _refuse(self, context: Any, denied: Denied) -> None:
        self.denied += 1
        log.warning("ADS refused to %s: %s", context.peer(), denied)
        await context.abort(denied.code, str(denied))

    async def _broken(self, context: Any, error: Exception) -> None:
        """End a stream that broke here. gRPC does not where an operation failed, and the client would wait at it as long as its connection lives."""
        if not context.done():
            log.warning("ADS to %s broke: %s", context.peer(), error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke at the control plane; open another")

    def _close(self, stream: Stream) -> None:
        self.streams.discard(stream)
        stream.write = None
        if stream.over is not None:
            stream.over()
        stream.conversation.close()
        self.held.give(stream.peer.who)
        self.names.give(stream.peer.who, stream.counted)
        listeners = stream.conversation.subscriptions.get(Type.LISTENER)
        self._source.left(stream.peer, listeners.names if listeners is not None else ())
        if self.draining and not self.streams:
            self._empty.set()

    async def _converse(self, stream: Stream, context: Any, first: bytes) -> None:
        self.streams.add(stream)
        self._source.joined(stream.peer)
        log.info("%s/%s connected (%s)", stream.peer.namespace, stream.peer.pod, "delta" if stream.delta else "sotw")
        writing = asyncio.Lock()

        async def write(message: bytes) -> None:
            async with writing:
                await context.write(message)

        stream.write = write
        tasks = [
            asyncio.ensure_future(self._read(stream, context, writing, first)),
            asyncio.ensure_future(self._push(stream, context, writing)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._close(stream)
            for task in tasks:
                task.cancel()
            if stream.saying is not None:
                stream.saying.cancel()
                await asyncio.wait([stream.saying])
            results = await asyncio.gather(*tasks, return_exceptions=True)
            log.info("%s/%s disconnected", stream.peer.namespace, stream.peer.pod)
        for error in results:
            if isinstance(error, Denied):
                await self._refuse(context, error)
            elif isinstance(error, messages.BadRequestError):
                await self._refuse(context, Denied(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
            elif isinstance(error, Exception) and not isinstance(error, grpc.RpcError | grpc.aio.AbortError):
                await self._broken(context, error)
                raise error

    async def _read(self, stream: Stream, context: Any, writing: asyncio.Lock, first: bytes) -> None:
        raw = first
        while raw is not EOF:
            await self.pace.turn()
            answers = stream.conversation.received(raw)
            if answers:
                async with writing:  # after what was said before; the lock is fair
                    for message in answers:
                        await context.write(message)
            raw = await context.read()

    async def _push(self, stream: Stream, context: Any, writing: asyncio.Lock) -> None:
        while (keys := await stream.queue.take()) is not None:
            waits = writing.locked()
            async with writing:
                if waits:  # its turn is long over, and many clients may read again at once
                    await self.pace.turn()
                told = stream.conversation.push(keys, stream.queue.seen)
                self.pushes += len(told)
                for message in told:
                    await context.write(message)


def _take(shares: Shares, who: Who, amount: int = 1) -> None:
    """Count something for a caller; raises Denied where that is too much."""
    try:
        shares.take(who, amount)
    except FullError as error:
        raise Denied(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error


def build_server(handlers: Iterable[grpc.GenericRpcHandler[bytes, bytes]], *, limit: int) -> grpc.aio.Server:
    """Make the gRPC server; ports are added by the caller."""
    server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=limit + 1000)
    server.add_generic_rpc_handlers(tuple(handlers))
    return server
