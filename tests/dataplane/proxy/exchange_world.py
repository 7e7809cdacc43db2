"""A proxy, its clients and servers, and a clock of their own: what the exchange machine acts on, and what must hold in it.

In: what a step does (`ask`, `send`, `answer`, ...). Out: assertions. `settle()` lets everything move that can; nothing here
waits for real time.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dataplane.config import AppProtocol, CircuitLimits, Forward, HttpTimeouts, RetryPolicy, SidecarConfig, Target
from dataplane.net.poller import Wish
from dataplane.net.system import Kernel
from dataplane.net.timers import Timer, Timers
from dataplane.protocol.events import RequestHead
from dataplane.proxy.request.call import Call
from dataplane.proxy.request.taker import Taker
from dataplane.tables.compile import compile_tables
from dataplane.tables.endpoints import Circuit, EndpointSlot
from meshapi.records import replace
from tests.dataplane.proxy.exchange_ends import SMALL, Ask, ClientEnd, End, Serve, ServerEnd, pattern
from tests.dataplane.proxy.rig import Rig, cluster, config, everything

KEPT = 150_000
"""Bytes of a body kept to be sent again: the bound (8 KiB here), a window that was open and one read of a socket."""
HELD = 1_000_000
"""Bytes of a body that may be on their way through the proxy and the kernel's buffers beside it."""
_RESETS = frozenset({"reset", "5xx", "gateway-error"})
_SAFE = frozenset({b"GET", b"HEAD"})
_GRPC = {1: "cancelled", 4: "deadline-exceeded", 8: "resource-exhausted", 13: "internal", 14: "unavailable"}


class VirtualKernel(Kernel):
    """The kernel, but for its clock."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def now(self) -> float:
        return self.time


class Driver:
    """What gives the poller that kernel, and never waits."""

    def __init__(self) -> None:
        self.kernel = VirtualKernel()
        self.wish = Wish()

    def adopt(self, poller: object) -> bool:
        return True

    def note(self, fd: int, mask: int) -> None: ...

    def release(self) -> None:
        self.kernel.shut()


class VirtualTimer(Timer):
    """One of `VirtualTimers`."""

    def __init__(self, owner: VirtualTimers, call: Callable[[], object]) -> None:
        super().__init__()
        self.owner = owner
        self.call = call

    def cancel(self) -> None:
        self.owner.waiting.pop(self, None)


class VirtualTimers(Timers):
    """Time-outs that come when the machine says so."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.loop, rig.poller.kernel)
        self.kernel: Any = rig.poller.kernel
        self.waiting: dict[VirtualTimer, None] = {}
        self.queue: list[tuple[float, int, VirtualTimer]] = []
        self.numbers = count()

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = VirtualTimer(self, callback)
        self.waiting[timer] = None
        heapq.heappush(self.queue, (self.kernel.time + seconds, next(self.numbers), timer))
        return timer

    def advance(self, seconds: float, between: Callable[[], None]) -> None:
        until = self.kernel.time + seconds
        while self.queue and self.queue[0][0] <= until:
            self.kernel.time, _, timer = heapq.heappop(self.queue)
            if timer in self.waiting:
                del self.waiting[timer]
                timer.call()
                between()
        self.kernel.time = until


class Log:
    """An access log that says which requests it was told of."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def note(self, exchange: Any, seconds: float) -> None:
        assert seconds >= 0
        self.paths.append(bytes(exchange.head.path))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the proxy is configured to do."""

    servers: str = "http1"
    policy: RetryPolicy | None = None
    mirrored: bool = False
    timeout: float = 0.0
    request_timeout: float = 0.0
    duration: float = 0.0
    limits: CircuitLimits = field(default_factory=CircuitLimits)

    def config(self, addresses: tuple[str, ...] = ("10.1.0.1", "10.1.0.2")) -> SidecarConfig:
        action = Forward(
            targets=(Target(cluster="c"),),
            timeout=self.timeout,
            retry=self.policy,
            mirrors=(("m", 1.0),) if self.mirrored else (),
        )
        protocol = {"http1": AppProtocol.HTTP1, "http2": AppProtocol.HTTP2}.get(self.servers, AppProtocol.AS_DOWNSTREAM)
        first = cluster(*addresses, protocol=protocol, mesh=self.servers == "mesh")
        return config(
            everything(action),
            clusters=(replace(first, limits=self.limits), cluster("10.2.0.1", name="m", protocol=protocol)),
            http={"timeouts": HttpTimeouts(request=self.request_timeout, duration=self.duration)},
        )


class World:
    """Everything around one proxy."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.driver = Driver()
        self.rig = Rig(plan.config(), self.driver, protocol=SMALL, replay_bytes=8192, pending_bytes=40_000)
        self.rig.dialer.held = True
        self.runtime = self.rig.runtime
        self.timers = VirtualTimers(self.rig)
        self.runtime.timers = self.timers
        self.runtime.dice = lambda: 0.5
        self.log = Log()
        self.runtime.access_log = self.log
        self.held = False
        """Dials wait."""
        self.fine = True
        """No assertion failed so far."""
        self.clients: list[ClientEnd] = []
        self.servers: list[ServerEnd] = []
        self.asks: list[Ask] = []
        self.circuits: set[Circuit] = set()
        self.slots: set[EndpointSlot] = set()
        self.note_tables()

    @property
    def now(self) -> float:
        return self.driver.kernel.time

    @property
    def ends(self) -> list[End]:
        return [*self.clients, *self.servers]

    @property
    def serves(self) -> list[Serve]:
        return [serve for server in self.servers for serve in server.serves.values()]

    def note_tables(self) -> None:
        for table in self.runtime.tables.clusters.values():
            self.circuits.add(table.circuit)
            self.slots.update(table.slots)

    # --- what steps do ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything move until nothing does."""
        self.fine = False
        quiet = 0
        for _ in range(3000):
            self.rig.poller.turn()
            moved = False
            while self.rig.waiting and not self.held:
                self.connect()
                moved = True
            for end in self.ends:
                moved = end.move() or moved
            quiet = 0 if moved else quiet + 1
            if quiet == 3:
                for end in self.ends:
                    end.behind = end.stalled
                return
        raise AssertionError("it never comes to rest")

    def client(self, http2: bool) -> None:
        peer = self.rig.client(http2=http2)
        _narrow(self.rig.accepted[-1].fd, peer.sock.fileno())
        self.clients.append(ClientEnd(self, peer.sock, http2))

    def connect(self) -> None:
        """Let the oldest dial connect."""
        receiver: Any = self.rig.waiting[0][0]
        if not receiver.stream.open:
            self.rig.waiting.pop(0)[1].sock.close()
            return
        _narrow(receiver.stream.fd, self.rig.waiting[0][1].sock.fileno())
        http2 = receiver.h2 is not None
        self.servers.append(ServerEnd(self, self.rig.open().sock, http2))

    def fail_dial(self) -> None:
        receiver: Any
        receiver, peer = self.rig.waiting.pop(0)
        receiver.stream.abort()
        peer.sock.close()

    def ask(self, end: ClientEnd, method: bytes, protocol: bytes, whole: bool, grpc: bool) -> Ask:
        number = len(self.asks)
        headers = [(b"content-type", b"application/grpc", b"content-type")] if grpc else []
        if protocol and end.http2:
            method = b"CONNECT"
        head = RequestHead(0, method, b"http", b"h", b"/%d" % number, headers, whole, 11, protocol)
        ask = Ask(number, end, 0, method, protocol, grpc, self.plan.policy, ended=whole and not protocol)
        self.asks.append(ask)
        ask.stream = end.codec.send_request(head, whole)
        end.asks[ask.stream] = ask
        return ask

    def send(self, ask: Ask, size: int, end: bool) -> None:
        """A piece of a request's body, or of a tunnel's bytes."""
        data = pattern(ask.number, ask.sent, size)
        ask.sent += size
        if ask.protocol and not ask.tunnel and not ask.end.http2:
            ask.end.odd = ask.early = True
            ask.end.backlog += ask.end.codec.output() + data
            return
        ask.ended = end
        ask.end.codec.send_data(ask.stream, data, end)

    def answer(self, serve: Serve, status: int, end: bool, grpc_status: int = -1) -> None:
        """Begin an answer; 101 agrees to an upgrade whatever the version."""
        serve.told = True
        headers = [(b"x-from", b"%d" % serve.index, b"x-from")]
        if grpc_status >= 0:
            headers.append((b"grpc-status", b"%d" % grpc_status, b"grpc-status"))
            serve.grpc_status = grpc_status
        if status == 101:
            serve.tunnel = True
            status = 200 if serve.end.http2 else 101
        if status >= 200 or status == 101:
            serve.status = status
            serve.answered = end
        codec = serve.end.codec
        codec.send_response(serve.stream, status, b"", headers, end)
        if status == 101:
            serve.end.take(codec.receive(b""))

    def reply(self, serve: Serve, size: int, end: bool) -> None:
        data = pattern(serve.seed, serve.sent, size)
        serve.sent += size
        serve.answered = end
        serve.end.codec.send_data(serve.stream, data, end)

    def push(self, addresses: tuple[str, ...], policy: RetryPolicy | None) -> None:
        """Swap the tables."""
        self.plan = dataclasses.replace(self.plan, policy=policy)
        self.runtime.install(compile_tables(self.plan.config(addresses), self.runtime.tables))
        self.note_tables()

    def advance(self, seconds: float) -> None:
        self.timers.advance(seconds, self.settle)
        self.rig.poller.timers._turn()

    def sweep(self, seconds: float) -> None:
        """Look at idle limits after so much time without a byte."""
        self.advance(seconds)
        for connection in [*self.runtime.downstreams, *self.runtime.upstreams]:
            connection.sweep(self.now)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def judge(self, serve: Serve) -> None:
        """Nothing is sent twice that a server may have seen, unless that is declared."""
        ask = serve.ask
        if not ask.tries:
            return
        before = ask.tries[-1]
        assert serve.late or not ask.status, "a request was sent again whose answer had begun"
        words = ask.policy.on if ask.policy is not None else frozenset[str]()
        attempts = 1 + (ask.policy.attempts if ask.policy is not None else 0)
        assert len(ask.tries) <= attempts + 1, "more tries than declared"
        if before.over == "refused":
            return
        wanted = before.status in _statuses(words) or _GRPC.get(before.grpc_status) in words
        asked = not words.isdisjoint(_RESETS)
        if serve.late or before.late or before.end.stalled:
            # When they were sent, and what was known then, is not known here; that there was a reason to is.
            raced = ask.method in _SAFE and (before.reused or serve.reused)
            assert wanted or asked or raced, f"request {ask.number} was sent twice, whatever became of the first"
            return
        if before.status:
            assert wanted
            return
        broke = before.over == "broke" or before.end.over
        if broke and ask.method in _SAFE and before.reused and not before.told:
            return
        assert asked, f"request {ask.number} was sent twice, and nobody had asked for it"
        assert broke or self.now - before.at >= ask.policy.per_try_timeout > 0  # type: ignore[union-attr]

    def check(self) -> None:
        """What holds at rest, after every step."""
        assert self.rig.poller.failures == 0, "a receiver raised; see the log"
        calls = [call for down in self.runtime.downstreams for call in _calls(down)]
        assert self.runtime.active == len(calls), f"{self.runtime.active} in flight, {len(calls)} known"
        assert not any(call.over for call in calls)
        owners = [getattr(timer.call, "__self__", None) for timer in self.timers.waiting]
        late = [owner for owner in owners if isinstance(owner, Call | Taker) and getattr(owner, "over", False)]
        assert not late, f"timers of {len(late)} ended requests survive"
        assert len(set(self.log.paths)) == len(self.log.paths), "a request ended twice"
        groups = self.runtime.metrics.groups.values()
        recorded = sum(series.count for group in groups for series in group.series.values())
        assert recorded == len(self.log.paths), f"{recorded} records, {len(self.log.paths)} lines"
        kept = [call.asking.kept.size for call in calls if call.asking.kept is not None]
        assert all(size < KEPT for size in kept), f"{kept} bytes of bodies are kept to be sent again"
        for ask in self.asks:
            self._check_ask(ask)
        self.fine = True

    def _check_ask(self, ask: Ask) -> None:
        path = b"/%d" % ask.number
        if ask.done and not ask.tunnel:
            assert path in self.log.paths, f"request {ask.number} is answered and does not end"
        if not ask.live:
            return
        held = ask.sent - len(ask.end.backlog) - ask.end.codec.pending(ask.stream)
        serve = ask.tries[-1] if ask.tries else None
        held -= serve.got if serve is not None else 0
        unheard = ask.end.cut and serve is None  # it came when its connection had been closed
        assert held < HELD or path in self.log.paths or unheard, f"{held} bytes of request {ask.number} are kept"
        if serve is None or not serve.live or self.held or ask.end.stalled or serve.end.stalled:
            return
        if ask.tunnel and path in self.log.paths:
            return  # given up, which HTTP/1 has no other sign for than an end
        assert path not in self.log.paths or ask.done or ask.status, f"request {ask.number} ended without an answer"
        if ask.tunnel if ask.protocol else not serve.status:
            assert serve.got == ask.sent, f"{ask.sent - serve.got} bytes of request {ask.number} are stuck"
            assert serve.whole == ask.ended, f"the end of request {ask.number} is stuck"
        if ask.source is serve:
            assert ask.got == serve.sent, f"{serve.sent - ask.got} bytes of the answer to {ask.number} are stuck"
            assert ask.done == serve.answered, f"the end of the answer to {ask.number} is stuck"

    def finish(self, how: str) -> None:
        """Come to an end in one of many ways, and find nothing left."""
        try:
            if self.fine:
                self._finish(how)
        finally:
            self._destroy()

    def _destroy(self) -> None:
        """Close what the test has open, whatever went wrong."""
        for peer in [*self.rig.clients, *self.rig.servers, *(peer for _, peer in self.rig.waiting)]:
            peer.sock.close()
        if not self.rig.loop.is_closed():
            self.rig.poller.close()
            self.rig.loop.close()

    def _finish(self, how: str) -> None:
        self.held = False
        for end in self.ends:
            end.stalled = False
        self.settle()
        getattr(self, f"_by_{how}")()
        self.check()
        self._check_rest()
        self.runtime.draining = False
        self.advance(5.0)
        self.rig.close()
        assert all(circuit.connections == 0 for circuit in self.circuits)

    def _by_serving(self) -> None:
        """Everybody finishes what was begun."""
        for _ in range(30):
            for ask in [ask for ask in self.asks if ask.live and not ask.ended and (ask.tunnel or not ask.protocol)]:
                self.send(ask, 3, True)
            self.settle()
            for serve in [serve for serve in self.serves if serve.live and not serve.answered]:
                if serve.speaking:
                    self.reply(serve, 3, True)
                elif not serve.status:
                    self.answer(serve, 200, True)
                self.settle()
            self.advance(1.0)
        left = [ask.number for ask in self.asks if b"/%d" % ask.number not in self.log.paths and ask.live]
        assert not left, f"requests {left} do not end"

    def _by_leaving(self) -> None:
        """The clients go."""
        for client in self.clients:
            client.close()
        self.settle()
        self.advance(3.0)  # an upload is not read, and its end not seen, while a retry waits
        if any(ask.tunnel or ask.early for ask in self.asks):
            self._by_waiting()  # a close looks like half of one there, and is not seen behind bytes nobody takes yet
        assert self.runtime.active == 0

    def _by_failing(self) -> None:
        """The servers go, and no new one can be reached."""
        self.held = True
        for _ in range(10):
            for server in self.servers:
                server.close()
            while self.rig.waiting:
                self.fail_dial()
                self.settle()
            self.settle()
            self.advance(1.0)
        self.held = False
        self._by_waiting()

    def _by_waiting(self) -> None:
        """Nobody does anything any more."""
        self.sweep(400.0)
        self.settle()

    def _settle_copies(self) -> None:
        """Copies have time-outs of their own; nobody waits for them."""
        self.advance(60.0)
        self.settle()

    def _check_rest(self) -> None:
        self._settle_copies()
        assert self.runtime.active == 0, f"{self.runtime.active} requests are in flight for ever"
        counts = [(circuit.requests, circuit.pending, circuit.retries) for circuit in self.circuits]
        assert not any(any(count) for count in counts), f"requests count in their clusters for ever: {counts}"
        assert all(slot.active == 0 for slot in self.slots), "requests count at their endpoints for ever"
        for connection in [*self.runtime.downstreams, *self.runtime.upstreams]:
            assert not _calls(connection)
            assert not connection.blocked
            assert connection.reading, "a connection without requests is not read"
            codec = connection.h1 if connection.h2 is None else connection.h2
            assert codec.active == 0
        lasting = [timer for timer in self.timers.waiting if "_refuse_late" not in repr(timer.call)]
        assert not lasting, f"timers survive: {[timer.call for timer in lasting]}"
        for ask in self.asks:
            if ask.tries or ask.status:
                assert b"/%d" % ask.number in self.log.paths, f"request {ask.number} never ended"


def _calls(connection: Any) -> list[Any]:
    return [*connection.calls.values()] + ([connection.call] if connection.call is not None else [])


def _statuses(words: frozenset[str]) -> set[int]:
    found: set[int] = set()
    if "5xx" in words:
        found |= set(range(500, 600))
    if "gateway-error" in words:
        found |= {502, 503, 504}
    return found | ({409} if "retriable-4xx" in words else set())


def _narrow(*descriptors: int) -> None:
    """Have the kernel keep little of what is sent."""
    for descriptor in descriptors:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
