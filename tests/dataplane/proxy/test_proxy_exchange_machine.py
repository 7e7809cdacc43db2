"""One exchange after another through every interleaving: clients, servers, time and pushes act in any order.

What must hold is in `exchange_world`; what comes in is drawn here. `TULLE_MACHINES` in the environment multiplies the number
of runs (200 is about an hour).
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dataplane.config import CircuitLimits, RetryPolicy
from dataplane.protocol import codes
from tests.dataplane.proxy.exchange_ends import Ask, ClientEnd, Serve
from tests.dataplane.proxy.exchange_world import Plan, World
from tests.support.machines import bounded, within

WORDS = (
    "5xx",
    "5xx",
    "5xx",
    "reset",
    "gateway-error",
    "reset-before-request",
    "refused-stream",
    "retriable-4xx",
    "unavailable",
)
REQUESTS = 10
CHANGES = ("dials wait", "dials go on", "dials go on", "stall", "read", "read", "sweep", "push", "push", "drain")
ADDRESSES = ("10.1.0.1", "10.1.0.2", "10.1.0.3")

any_of = st.integers(0, 11)
FLOOD = 300_000
sizes = st.sampled_from([1, 7, 500, 9_000, 70_000, FLOOD, FLOOD])
declared = st.builds(
    RetryPolicy,
    on=st.sets(st.sampled_from(WORDS), min_size=1, max_size=2).map(frozenset),
    attempts=st.integers(1, 2),
    per_try_timeout=st.sampled_from([0.0, 3.0]),
    backoff=st.just((0.5, 2.0)),
)
policies = st.one_of(st.none(), declared, declared)
plans = st.builds(
    Plan,
    servers=st.sampled_from(["http1", "http2", "as", "mesh"]),
    policy=policies,
    mirrored=st.booleans(),
    timeout=st.sampled_from([0.0, 0.0, 7.0]),
    request_timeout=st.sampled_from([0.0, 0.0, 5.0]),
    duration=st.sampled_from([0.0, 0.0, 40.0]),
    limits=st.sampled_from([CircuitLimits(), CircuitLimits(), CircuitLimits(max_requests=2, max_pending=1)]),
)


class ExchangeMachine(RuleBasedStateMachine):
    """Any step at any time."""

    world: World

    @initialize(plan=plans, http2=st.booleans(), end=st.sampled_from(["serving", "leaving", "failing", "waiting"]))
    def begin(self, plan: Plan, http2: bool, end: str) -> None:
        self.end = end
        self.world = World(plan)
        for version in (True, False, http2):
            self.world.client(version)
        self.world.settle()

    def done(self) -> None:
        """A step is over."""
        self.world.settle()
        self.world.check()

    @property
    def asks(self) -> list[Ask]:
        return [ask for ask in self.world.asks if ask.live]

    @property
    def free(self) -> list[ClientEnd]:
        return [client for client in self.world.clients if client.free]

    @property
    def sending(self) -> list[Ask]:
        return [ask for ask in self.asks if not ask.ended and (ask.tunnel or not ask.done)]

    @property
    def silent(self) -> list[Serve]:
        return [serve for serve in self.world.serves if serve.live and not serve.status]

    @property
    def failing(self) -> list[Serve]:
        return [
            serve for serve in self.silent if serve.ask in self.sending and serve.ask.policy and not serve.ask.protocol
        ]

    @property
    def speaking(self) -> list[Serve]:
        return [serve for serve in self.world.serves if serve.speaking]

    # --- clients ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.asks) < REQUESTS and self.free)
    @rule(
        at=any_of,
        kind=st.sampled_from(["GET", "POST", "grpc"]),
        size=st.sampled_from([0, 3, 20_000]),
        whole=st.booleans(),
    )
    def client_asks(self, at: int, kind: str, size: int, whole: bool) -> None:
        method = b"GET" if kind == "GET" else b"POST"
        whole = whole or kind == "GET"
        ask = self.world.ask(self.free[at % len(self.free)], method, b"", whole and not size, kind == "grpc")
        if size:
            self.world.send(ask, size, whole)
        self.done()

    @precondition(lambda self: len(self.world.asks) < REQUESTS and self.free)
    @rule(at=any_of, early=st.sampled_from([0, 0, 7, 20_000]))
    def client_asks_for_a_tunnel(self, at: int, early: int) -> None:
        ask = self.world.ask(self.free[at % len(self.free)], b"GET", b"websocket", False, False)
        if early:
            self.world.send(ask, early, False)
        self.done()

    @precondition(lambda self: len(self.world.asks) < REQUESTS and self.free and self.world.plan.policy is not None)
    @rule(at=any_of)
    def an_upload_meets_a_pause(self, at: int) -> None:
        """Its server fails at once, and the rest of it comes while a retry waits for its turn, where there is one."""
        ask = self.world.ask(self.free[at % len(self.free)], b"POST", b"", False, False)
        self.world.send(ask, 3, False)
        self.world.settle()
        if ask.tries and ask.tries[-1] in self.silent:
            self.world.answer(ask.tries[-1], 503, True)
            self.world.settle()
        self.flood(ask)
        self.done()

    @precondition(lambda self: len(self.world.asks) < REQUESTS and any(client.http2 for client in self.free))
    @rule(at=any_of)
    def a_tunnel_ends_on_one_side_before_it_is_one(self, at: int) -> None:
        """Its client has ended, then its server agrees and ends as well."""
        over2 = [client for client in self.free if client.http2]
        ask = self.world.ask(over2[at % len(over2)], b"GET", b"websocket", False, False)
        self.world.send(ask, 3, True)
        self.world.settle()
        serve = ask.tries[-1] if ask.tries else None
        if serve in self.silent:
            self.world.answer(serve, 101, False)
            self.world.settle()
            if serve in self.speaking:
                self.world.reply(serve, 3, True)
        self.done()

    @precondition(lambda self: self.sending)
    @rule(at=any_of, size=sizes, end=st.booleans())
    def client_sends(self, at: int, size: int, end: bool) -> None:
        ask = self.sending[at % len(self.sending)]
        if size < FLOOD:
            self.world.send(ask, size, end)
        else:
            self.flood(ask)
        self.done()

    def flood(self, ask: Ask) -> None:
        """A long upload, as far as it is taken."""
        for _ in range(6):
            if ask in self.sending:
                self.world.send(ask, FLOOD, False)
                self.world.settle()

    @precondition(lambda self: self.asks)
    @rule(at=any_of)
    def client_gives_up(self, at: int) -> None:
        ask = self.asks[at % len(self.asks)]
        ask.lost = True
        if ask.end.http2:
            ask.end.codec.reset(ask.stream, codes.CANCEL)
        else:
            ask.end.close()
        self.done()

    # --- servers ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.rig.waiting)
    @rule(fails=st.booleans())
    def one_dial_ends(self, fails: bool) -> None:
        if fails:
            self.world.fail_dial()
        else:
            self.world.connect()
        self.done()

    @precondition(lambda self: self.silent)
    @rule(at=any_of, status=st.sampled_from([200, 204, 409, 503, 503]), end=st.booleans())
    def server_answers(self, at: int, status: int, end: bool) -> None:
        serve = self.silent[at % len(self.silent)]
        grpc = 14 if serve.ask.grpc and status == 503 else -1
        self.world.answer(serve, 200 if grpc > 0 else status, end or status == 204 or grpc > 0, grpc)
        self.done()

    @precondition(lambda self: self.failing)
    @rule(at=any_of)
    def server_fails_in_an_upload(self, at: int) -> None:
        serve = self.failing[at % len(self.failing)]
        self.world.answer(serve, 503, True)
        self.world.settle()
        self.flood(serve.ask)
        self.done()

    @precondition(lambda self: self.silent)
    @rule(at=any_of)
    def server_informs_or_switches(self, at: int) -> None:
        serve = self.silent[at % len(self.silent)]
        self.world.answer(serve, 101 if serve.ask.protocol else 103, False)
        self.done()

    @precondition(lambda self: any(not serve.end.stalled for serve in self.silent))
    @rule(at=any_of)
    def server_falls_silent(self, at: int) -> None:
        """It reads no more; between sidecars its connection is given up, which it does not hear."""
        reading = [serve for serve in self.silent if not serve.end.stalled]
        reading[at % len(reading)].end.stalled = True
        for _ in range(2):
            self.world.sweep(20.0)
            self.world.settle()
        self.done()

    @precondition(lambda self: self.speaking)
    @rule(at=any_of, size=sizes, end=st.booleans())
    def server_sends(self, at: int, size: int, end: bool) -> None:
        serve = self.speaking[at % len(self.speaking)]
        if size < FLOOD:
            self.world.reply(serve, size, end)
        for _ in range(6 if size == FLOOD else 0):
            if serve in self.speaking:
                self.world.reply(serve, size, False)
                self.world.settle()
        self.done()

    @precondition(lambda self: any(serve.live for serve in self.world.serves))
    @rule(at=any_of, code=st.sampled_from([codes.REFUSED_STREAM, codes.REFUSED_STREAM, codes.INTERNAL_ERROR]))
    def server_gives_up(self, at: int, code: int) -> None:
        live = [serve for serve in self.world.serves if serve.live]
        serve = live[at % len(live)]
        serve.end.refuse(serve, code)
        self.done()

    @precondition(lambda self: any(not server.over for server in self.world.servers))
    @rule(at=any_of, how=st.sampled_from(["close", "shutdown", "goaway"]))
    def server_ends(self, at: int, how: str) -> None:
        there = [server for server in self.world.servers if not server.over]
        server = there[at % len(there)]
        if how == "close":
            server.stalled = False
            while server.pull():
                pass
            server.close()
        else:
            getattr(server.codec, how)()
        self.done()

    # --- the world ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.0, 3.5, 8.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.done()

    @rule(what=st.sampled_from(CHANGES), at=any_of, policy=policies, several=st.sets(st.sampled_from(ADDRESSES)))
    def world_changes(self, what: str, at: int, policy: RetryPolicy | None, several: set[str]) -> None:
        world = self.world
        if what.startswith("dials"):
            world.held = what == "dials wait"
        elif what == "sweep":
            world.sweep(60.0 if at < 6 else 400.0)
        elif what == "push":
            world.push(tuple(sorted(several)), policy)
        elif what != "drain":
            world.ends[at % len(world.ends)].stalled = what == "stall"
        elif at < 3 and not world.runtime.draining:
            world.runtime.drain()
        self.done()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish(self.end)


ExchangeMachine.TestCase.settings = bounded(280, 50)
TestExchanges = within(240)(ExchangeMachine.TestCase)
