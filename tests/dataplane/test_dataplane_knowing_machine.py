"""Everything that happens to what a sidecar knows, in any order: what is in force has a reason to be, and what has one is in force.

The machine drives a whole `MeshSource` with further workers beside it. Messages between workers, and between sidecar and control plane, arrive
one by one. `TULLE_MACHINES` makes a longer run.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.config import SidecarConfig
from dataplane.discovery import IDLE_SECONDS
from dataplane.finding import Finding, Found
from dataplane.xds.settle import Settling, in_force, references
from dataplane.xds.uses import Key
from meshapi.xds import TRUST_BUNDLE, Type
from tests.support.knowing import INBOUND, ControlPlane, Known, listener
from tests.support.machines import bounded, within
from tests.support.virtual import real_time

NAMES = [f"outbound/10.96.0.{number}:80" for number in range(1, 5)]
MOST = 3
"""Destinations kept, so that there are sometimes too many."""
WORKERS = 2
names = st.sampled_from(NAMES)
workers = st.integers(0, WORKERS - 1)


class Timer:
    """Fires when the machine says so."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.over = False

    def cancel(self) -> None:
        self.over = True


class Line:
    """The first worker's end of the line to another one, and that other one as far as it knows destinations (`worker.Worker`)."""

    def __init__(self) -> None:
        self.to: list[tuple[Any, ...]] = []
        self.back: list[tuple[Any, ...]] = []
        self.listeners: set[str] = set()
        self.open: Counter[str] = Counter()
        self.waiting: dict[str, list[Callable[[Finding], None]]] = {}

    def send(self, *message: Any) -> None:
        self.to.append(message)

    def send_raw(self, data: bytes) -> None:
        self.to.append(pickle.loads(data[4:]))

    def arrive(self) -> None:
        """Take one message from the first worker."""
        match self.to.pop(0):
            case ("config", SidecarConfig() as config):
                self.listeners = set(config.listeners)
            case ("known", name, found):
                for callback in self.waiting.pop(name):
                    callback(found)
            case ("survey",):
                self.back.append(("opened", {name for name, count in self.open.items() if count}))
            case _:
                return

    def connect(self, name: str, callback: Callable[[Finding], None]) -> None:
        self.open[name] += 1
        if name in self.listeners:
            self.back.append(("touch", name))
            return
        waiting = self.waiting.setdefault(name, [])
        waiting.append(callback)
        if len(waiting) == 1:
            self.back.append(("want", name))


class Knowing(RuleBasedStateMachine):
    """A sidecar, its app's connections, its mesh, and control planes that come and go."""

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as owned:
            loop = owned.enter_context(real_time())
            directory = Path(owned.enter_context(tempfile.TemporaryDirectory()))
            self.pod = loop.run_until_complete(self._made(directory))
            owned.callback(self.pod.close)
            self.owned = owned.pop_all()
        self.discovery = self.pod.source.discovery
        self.discovery._timers = self  # type: ignore[assignment]
        self.discovery._opened = lambda: {name for name, count in self.open.items() if count}
        self.discovery.most = MOST
        self._let_go, self.discovery._let_go = self.discovery._let_go, self._gone  # type: ignore[method-assign]
        self.timers: list[Timer] = []
        self.open: Counter[str] = Counter()
        """Connections of the first worker."""
        self.lines = [Line() for _ in range(WORKERS - 1)]
        self.pod.sidecar.workers.links = self.lines  # type: ignore[assignment]
        self.control: ControlPlane | None = None
        self.hoped = True
        """Nobody has found the control plane away."""
        self.answers: list[list[Finding]] = []
        """What each connection was told."""
        self.version = 1
        self.broken: set[str] = set()
        # The oracle: the time there was a control plane, and by that when each destination had its last reason.
        self.present = 0.0
        self.used: dict[str, float] = {}
        self.claims: list[set[str]] = [set() for _ in self.lines]
        self.hinted = False

    async def _made(self, directory: Path) -> Known:
        return Known(directory)

    def after(self, _: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def teardown(self) -> None:
        self.owned.close()

    # --- the app ------------------------------------------------------------------------------------------------------

    @rule(worker=workers, name=names)
    def connect(self, worker: int, name: str) -> None:
        """The app opens a connection."""
        told: list[Finding] = []
        if worker:
            line = self.lines[worker - 1]
            if name not in line.listeners:
                self.answers.append(told)
            line.connect(name, told.append)
            return
        self.open[name] += 1
        self._use(name)
        if name in self.pod.in_force():
            self.discovery.touch(name)
        else:
            self.answers.append(told)
            self.discovery.want(name, told.append)

    @rule(worker=workers, name=names)
    def disconnect(self, worker: int, name: str) -> None:
        """One of its connections ends."""
        count = self.lines[worker - 1].open if worker else self.open
        count[name] = max(0, count[name] - 1)

    @rule(seconds=st.sampled_from([1.0, IDLE_SECONDS / 2, IDLE_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        """What is idle is let go, what is not stays."""
        self.pod.now += seconds
        if self.hoped:
            self.present += seconds
        self.pod.sidecar.workers.survey()
        before = set(self.discovery.names)
        reason = self._claimed() | {name for name in before if self.present - self.used[name] <= IDLE_SECONDS}
        if self.hoped:
            for name in self._claimed() & before:
                self.used[name] = self.present
        self.discovery.sweep()
        assert self.discovery.names == (before & reason if self.hoped else before)

    @precondition(lambda self: any(not timer.over for timer in self.timers))
    @rule(data=st.data())
    def timer_fires(self, data: st.DataObject) -> None:
        timer = data.draw(st.sampled_from([timer for timer in self.timers if not timer.over]))
        timer.over = True
        timer.callback()

    # --- the workers --------------------------------------------------------------------------------------------------

    @rule(index=st.integers(0, WORKERS - 2), count=st.integers(1, 4))
    def line_carries(self, index: int, count: int) -> None:
        """The next messages each way arrive."""
        line = self.lines[index]
        for _ in range(count):
            if line.to:
                line.arrive()
            if line.back:
                self._hear(index)

    def _hear(self, index: int) -> None:
        message = self.lines[index].back.pop(0)
        match message:
            case ("opened", names_):
                self.claims[index] = names_ & set(self.discovery.names)
            case (_, name):
                self._use(name)
                self.claims[index].add(name)
        self.pod.sidecar.workers._take(index, message)

    # --- the mesh -----------------------------------------------------------------------------------------------------

    @rule(name=names)
    def service_changes(self, name: str) -> None:
        """A service is made, or its pods roll."""
        self.version += 1
        self.broken.discard(name)
        self._push(self.pod.cluster.service(name, f"10.0.{self.version // 256}.{self.version % 256}"))

    @rule(name=names)
    def service_goes(self, name: str) -> None:
        self.broken.discard(name)
        self._push(self.pod.cluster.remove(name))

    @rule(name=names)
    def service_cannot_be_read(self, name: str) -> None:
        """Its listener has something this sidecar refuses."""
        self.broken.add(name)
        bad = listener(name, f"of {name}", version=str(self.version))
        bad["filter_chains"][0]["filters"] = [{"name": "unheard of"}]
        self._push([self.pod.cluster.put(Type.LISTENER, bad)])

    def _push(self, changed: list[tuple[Type, str]]) -> None:
        if self.control is not None:
            self.control.push(*changed)

    # --- the control plane --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.control is None)
    @rule(warm=st.lists(names, unique=True))
    def control_plane_comes(self, warm: list[str]) -> None:
        """A process with a memory of its own of what is warm."""
        self.control = ControlPlane(self.pod.cluster, self.pod.source, *warm).begin()
        self.hoped = True

    @rule()
    def control_plane_goes(self) -> None:
        """Or cannot be reached."""
        self.pod.away()
        self.control, self.hoped = None, False
        self._all_answered()

    @precondition(lambda self: self.control is not None and self.control.busy)
    @rule(count=st.integers(1, 10))
    def stream_carries(self, count: int) -> None:
        assert self.control is not None
        for _ in range(count):
            self._carry(self.control)

    def _carry(self, control: ControlPlane) -> None:
        control.step()
        if not self.hinted and self.pod.source.session.warm is not None:
            self.hinted = True
            for name in self.pod.source.session.warm:
                self._use(name)

    @rule()
    def quiet(self) -> None:
        """Everything arrives: then all that is needed is in force as it is in the mesh, and nothing else is subscribed to."""
        self._settle()
        for line in self.lines:
            assert line.listeners == set(self.pod.sidecar.engine.runtime.tables.listeners) or not line.listeners
        control = self.control
        if control is None:
            return
        config = self.pod.source.session.config
        needed, cluster = self._closure(), self.pod.cluster
        if not self.broken:
            assert control.subscribed == needed
        assert {(type_, name) for type_, held in in_force(config).items() for name in held} <= control.subscribed
        for name in self.discovery.names:
            if name in self.broken:
                assert self.pod.source.session.find(name).found in {Found.REFUSED, Found.KNOWN}
            elif name in cluster.resources[Type.LISTENER]:
                (ends,) = cluster.resources[Type.ENDPOINTS][f"of {name}"]["endpoints"][0]["lb_endpoints"]
                where = ends["endpoint"]["address"]["socket_address"]["address"]
                assert self.pod.addresses(name) == [where]
            else:
                assert self.pod.source.session.find(name).found is Found.ABSENT
        assert not self.discovery._waiting
        if not self.discovery._overflow.value:
            assert {name for name in NAMES if any(one[name] for one in self._opens())} <= self.discovery.names

    def _opens(self) -> list[Counter[str]]:
        return [self.open, *(line.open for line in self.lines)]

    def _settle(self) -> None:
        while any(line.to or line.back for line in self.lines) or (self.control is not None and self.control.busy):
            if self.control is not None and self.control.busy:
                self._carry(self.control)
            for index, line in enumerate(self.lines):
                if line.to:
                    line.arrive()
                if line.back:
                    self._hear(index)
        if not self.hoped:
            self._all_answered()

    def _closure(self) -> set[tuple[Type, str]]:
        resources = self.pod.cluster.resources
        found = {(Type.SECRET, TRUST_BUNDLE), (Type.LISTENER, INBOUND), (Type.CLUSTER, "own")}
        for name in self.discovery.names:
            found.add((Type.LISTENER, name))
            if name in resources[Type.LISTENER]:
                found |= {(Type.CLUSTER, f"of {name}"), (Type.ENDPOINTS, f"of {name}")}
        return found

    # --- the oracle ---------------------------------------------------------------------------------------------------

    def _use(self, name: str) -> None:
        self.used[name] = self.present

    def _claimed(self) -> set[str]:
        """What counts as open: connections here, what others reported and used since, and who waits."""
        here = {name for name, count in self.open.items() if count}
        return here.union(*self.claims, self.discovery._waiting)

    def _gone(self, let_go: AbstractSet[str]) -> None:
        """What is let go for want of room, and may be back in the same step, nobody claims until it is reported or used again."""
        for claims in self.claims:
            claims.difference_update(let_go)
        self._let_go(let_go)

    def _all_answered(self) -> None:
        """Nobody waits for a control plane that is away, but for what is still on a line."""
        assert not self.discovery._waiting

    @invariant()
    def each_is_answered_once_at_most(self) -> None:
        assert all(len(told) <= 1 for told in self.answers)
        waiting = sum(len(callbacks) for callbacks, _ in self.discovery._waiting.values())
        lines = sum(len(callbacks) for line in self.lines for callbacks in line.waiting.values())
        unanswered = sum(not told for told in self.answers)
        assert lines <= unanswered <= waiting + lines

    @invariant()
    def what_is_known_has_one_owner(self) -> None:
        """The session wants what the discovery keeps, and holds nothing but what that needs."""
        session = self.pod.source.session
        assert session.wanted == set(self.discovery.names)
        assert len(self.discovery.names) <= MOST
        assert self.discovery._waiting.keys() <= self.discovery.names
        assert self.discovery.connected == self.hoped
        settling = Settling(session._held, session.config)
        all_needed = set().union(*({root} | settling.needed(root) for root in session._roots))
        assert {(type_, name) for type_, names_ in session._needed.items() for name in names_} == all_needed
        for type_, held in session._held.items():
            assert held.names <= session._needed[type_]
            assert not held.absent & (held.nouns.keys() | held.refused.keys())
            assert held.versions.keys() == held.nouns.keys()

    @invariant()
    def what_is_in_force_has_a_reason(self) -> None:
        """Tables of destinations kept, of what they lead to, and no others."""
        session, tables = self.pod.source.session, self.pod.sidecar.engine.runtime.tables
        settling = Settling(session._held, session.config)
        chosen: dict[Key, Any] = {}
        for root in session._roots:
            chosen |= settling.chosen(root)
        forces = in_force(session.config)
        assert {(type_, name): noun for type_, nouns in forces.items() for name, noun in nouns.items()} == chosen
        assert tables.config is self.pod.source.session.config or not tables.listeners
        assert self.pod.in_force() <= self.discovery.names
        forces = in_force(tables.config)
        reached = {(Type.SECRET, TRUST_BUNDLE)}
        todo = [(Type.LISTENER, name) for name in tables.config.listeners]
        while todo:
            key = todo.pop()
            if key not in reached:
                reached.add(key)
                todo += references(forces[key[0]].get(key[1]))
        assert {(type_, name) for type_, held in forces.items() for name in held} <= reached


Knowing.TestCase.settings = bounded(200, 40)
test_what_a_sidecar_knows_is_what_it_has_reason_to_know = within(120)(Knowing.TestCase)
