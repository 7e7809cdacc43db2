"""Where a request of a cluster goes: by turns, by load or by lot, over the best priority that has endpoints.

In: `config.Cluster` and `config.Endpoints`, and the cluster compiled before, whose slots and circuit are kept so that
connections and counts outlive a push; what the slots' `health` says. Out: `ClusterTable.pick()`, and `due()` for the endpoint that
was passed over and is to be tried again. Slots also carry what the proxy binds to an endpoint (pools, series); this module never
looks at that.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import AppProtocol, CircuitLimits, Cluster, Endpoint, Endpoints
from dataplane.tables.health import WELL, Health, Ward, share
from dataplane.tables.turns import Turn, Turns

HTTP1 = 1
HTTP2 = 2
AS_DOWNSTREAM = 3

DYNAMIC_LIMIT = 1024
"""Addresses an ORIGINAL_DST cluster remembers at once."""

# C integers when compiled.
_ROUND_ROBIN = 0
_LEAST_REQUEST = 1
_RANDOM = 2
_WELL = WELL
_NEVER = float("inf")
_KEEPERS = ("http1", "http2", "upgrade", "carriers")
_LOTS = 1 << 22
_POLICIES = {"round_robin": _ROUND_ROBIN, "least_request": _LEAST_REQUEST, "random": _RANDOM}
_PROTOCOLS = {AppProtocol.HTTP1: HTTP1, AppProtocol.HTTP2: HTTP2, AppProtocol.AS_DOWNSTREAM: AS_DOWNSTREAM}


class Circuit:
    """What a cluster has in hand over all its endpoints, and how much of it it may."""

    __slots__ = (
        "connections",
        "max_connections",
        "max_pending",
        "max_requests",
        "max_retries",
        "pending",
        "requests",
        "retries",
        "retry_percent",
    )

    def __init__(self, limits: CircuitLimits) -> None:
        self.connections = 0
        self.pending = 0
        """Requests that wait for a connection."""
        self.requests = 0
        self.retries = 0
        """Requests on a try a retry policy gave them."""
        self.renew(limits)

    def renew(self, limits: CircuitLimits) -> None:
        """Take over other bounds."""
        self.max_connections = limits.max_connections
        self.max_pending = limits.max_pending
        self.max_requests = limits.max_requests
        self.max_retries = limits.max_retries
        self.retry_percent = limits.retry_percent

    def may_connect(self) -> bool:
        """Whether there may be another connection."""
        return self.connections < self.max_connections

    def may_retry(self) -> bool:
        """Whether there may be another retry."""
        return self.retries < self.max_retries or self.retries * 100 < self.requests * self.retry_percent


class EndpointSlot(Turn):
    """One endpoint of a cluster, for as long as config names it."""

    __slots__ = (
        "active",
        "address",
        "carriers",
        "group",
        "health",
        "http1",
        "http2",
        "identity",
        "labels",
        "mesh",
        "port",
        "priority",
        "retired",
        "upgrade",
        "weight",
        "zone",
    )

    def __init__(self, endpoint: Endpoint, ward: Ward | None = None) -> None:
        super().__init__()
        self.health = Health(ward)
        self.address = endpoint.address
        self.port = endpoint.port
        self.mesh = endpoint.mesh
        self.identity = endpoint.identity
        self.labels = dict(endpoint.labels)
        self.active = 0
        self.retired = False
        self.http1: Any = None
        """The proxy's pool of HTTP/1 connections to it."""
        self.http2: Any = None
        self.upgrade: Any = None
        """The pool of connections for upgrades (HTTP/1 inside mesh TLS)."""
        self.carriers: Any = None
        """Connections kept for opaque bytes."""
        self.group: Any = None
        """The series requests to it are counted in."""
        self.renew(endpoint)

    def renew(self, endpoint: Endpoint) -> None:
        """Take over what may change while it stays the same endpoint."""
        self.weight = max(1, endpoint.weight)
        self.priority = endpoint.priority
        self.zone = endpoint.zone

    def follow(self, cluster: ClusterTable) -> None:
        """Have its pools and carriers take over what the cluster says now; who cannot is replaced when it is asked for next."""
        for name in _KEEPERS:
            if (keeper := getattr(self, name)) is not None and not keeper.follow(cluster):
                setattr(self, name, None)

    def retire(self) -> None:
        """The endpoint is gone: its connections finish what they have."""
        self.retired = True
        for keeper in filter(None, (self.http1, self.http2, self.upgrade, self.carriers)):
            keeper.retire()


def _rounds(slot: EndpointSlot) -> int:
    return slot.health.rounds


def _key(endpoint: Endpoint) -> tuple[object, ...]:
    return (endpoint.address, endpoint.port, endpoint.mesh, endpoint.identity, endpoint.labels)


class ClusterTable:
    """One compiled cluster."""

    __slots__ = (
        "_aside",
        "_due",
        "_dynamic",
        "_even",
        "_seen",
        "_tier",
        "_time",
        "_turns",
        "_willing",
        "ahead",
        "circuit",
        "connect_timeout",
        "cursor",
        "labels",
        "mesh_tls",
        "name",
        "noun",
        "original",
        "policy",
        "protocol",
        "slots",
        "tls",
        "ward",
    )

    def __init__(self, noun: Cluster, slots: list[EndpointSlot], seed: int, ward: Ward) -> None:
        self.noun = noun
        self.name = noun.name
        self.protocol = _PROTOCOLS[noun.protocol]
        self.original = noun.kind == "original_dst"
        self.connect_timeout = noun.connect_timeout
        self.tls = noun.tls
        self.mesh_tls = noun.mesh_tls
        self.slots = slots
        self.ahead = noun.ahead
        self.labels = dict(noun.labels)
        self.circuit = Circuit(noun.limits)
        self.policy = _POLICIES[noun.policy]
        self.cursor = seed
        best = min((slot.priority for slot in slots), default=0)
        self._tier = [slot for slot in slots if slot.priority == best]
        self._even = len({slot.weight for slot in self._tier}) <= 1
        self._dynamic: dict[tuple[str, int], EndpointSlot] = {}
        self.ward = ward
        self._seen = -1
        """Changes of the ward that the following know of."""
        self._willing = self._tier
        """Those of the tier that take turns."""
        self._turns: Turns | None = None
        """Where they do by their weights; None until somebody asks."""
        self._time = 0.0
        """The time of those turns: when the last that was taken was due."""
        self._aside: list[EndpointSlot] = []
        """Those passed over."""
        self._due = _NEVER
        """When the first of them is to be tried."""

    def pick(self, excluded: list[EndpointSlot] | None) -> EndpointSlot | None:
        """Choose the next endpoint, none of `excluded` unless all are; None when there are none at all."""
        if self._seen != self.ward.changes:
            self._judge()
        tier = self._willing if not excluded else self._others(excluded)
        count = len(tier)
        if count == 0:
            return None
        if self.policy == _RANDOM or (self.policy == _LEAST_REQUEST and self._even):
            return self._drawn(tier)
        if not self._even:
            return self._due_first() if not excluded else self._by_lot(tier)
        self.cursor += 1
        return tier[self.cursor % count]

    def another(self, tried: list[EndpointSlot] | None, last: EndpointSlot, tries: int, most: int) -> bool:
        """Tell whether who found no connection to `last` tries to connect to another endpoint, after so many tries.

        `most` in all; and beyond that, where this one was to blame, as long as there is one left that nobody has heard ill of. So the one
        endpoint of many that is left is found, and a service that is down as a whole is dialled once an endpoint and back-off.
        """
        if tries < most:
            return not self.original
        if not last.retired and last.health.state == _WELL:
            return False
        for slot in self._tier:
            if slot.health.state == _WELL and slot is not last and (tried is None or slot not in tried):
                return True
        return False

    def peek(self) -> EndpointSlot | None:
        """Say whose turn is next, where that is known and another one's than the last."""
        if self._seen != self.ward.changes:
            self._judge()
        count = len(self._willing)
        if count < 2 or not self._even or self.policy != _ROUND_ROBIN:
            return None
        return self._willing[(self.cursor + 1) % count]

    def due(self, now: float, pause: tuple[float, float]) -> EndpointSlot | None:
        """Return an endpoint that is passed over and whose back-off is over, on trial from here on; mostly there is none."""
        if self._seen != self.ward.changes:
            self._judge()
        if now < self._due:
            return None
        for slot in self._aside:
            if slot.health.until <= now:
                slot.health.begin_trial(now, pause)
                return slot
        return None

    def passes_over(self, slot: EndpointSlot) -> bool:
        """Whether an endpoint gets no turns now."""
        if self._seen != self.ward.changes:
            self._judge()
        return slot in self._aside

    @property
    def passed_over(self) -> int:
        """How many endpoints get no turns now."""
        if self._seen != self.ward.changes:
            self._judge()
        return len(self._aside)

    def _judge(self) -> None:
        """Part those that take turns from those passed over: the longest failing first, and never more than their share."""
        self._seen = self.ward.changes
        failing = [slot for slot in self._tier if slot.health.state != _WELL]
        failing.sort(key=_rounds, reverse=True)
        aside = self._aside = failing[: share(len(failing), len(self._tier))]
        passed = set(aside)
        self._willing = [slot for slot in self._tier if slot not in passed] if passed else self._tier
        self._turns = None
        self._due = _NEVER
        for slot in aside:
            self._due = min(self._due, slot.health.until)

    def _others(self, excluded: list[EndpointSlot]) -> list[EndpointSlot]:
        """Those that take turns, else those that do not, without the excluded, and the well first; all when nothing else is left."""
        for among in (self._willing, self._aside):
            others = [slot for slot in among if slot not in excluded]
            if others:
                return [slot for slot in others if slot.health.state == _WELL] or others
        return self._willing

    def _drawn(self, tier: list[EndpointSlot]) -> EndpointSlot:
        """Draw one, or for the load of two the less loaded one (the power of two choices, Mitzenmacher 2001)."""
        count = len(tier)
        at = self._draw(count)
        first: EndpointSlot = tier[at]
        if self.policy == _RANDOM or count < 2:
            return first
        second: EndpointSlot = tier[(at + 1 + self._draw(count - 1)) % count]
        return second if second.active < first.active else first

    def _draw(self, count: int) -> int:
        """Return a number below `count`, all alike likely: a linear congruential sequence, its low bits left out."""
        self.cursor = (self.cursor * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.cursor >> 8) % count

    def _due_first(self) -> EndpointSlot:
        """Take the one that is due: its weight says how soon it is again, and by load what it has in hand as well, as in Envoy's weighted least request."""
        turns = self._turns
        if turns is None:
            turns = self._turns = self._line_up()
        first: EndpointSlot = turns.first()  # type: ignore[assignment]  # slots were lined up
        self._time = first.due
        turns.put_off(first.due + self._share(first))
        return first

    def _share(self, slot: EndpointSlot) -> float:
        """After how long it is due again that is taken now; by what it has in hand at this moment, for as long as that is, as in Envoy."""
        load = slot.active + 1.0 if self.policy == _LEAST_REQUEST else 1.0
        return load / slot.weight

    def _line_up(self) -> Turns:
        """Have those begin who take turns: who was there goes on where it was, and who is new comes in the middle of its time. Seeds differ in who is first of those alike."""
        at = self.cursor % len(self._willing)
        line = self._willing[at:] + self._willing[:at]
        for slot in line:
            share = self._share(slot)
            if slot.due < self._time:
                slot.due = self._time + share / 2
            else:  # its weight may have been another one
                slot.due = min(slot.due, self._time + share)
        return Turns(line)

    def _by_lot(self, tier: list[EndpointSlot]) -> EndpointSlot:
        """Draw one by weight, and by load as well where that counts, out of turn."""
        total = 0.0
        for slot in tier:
            total += 1.0 / self._share(slot)
        left = total * self._draw(_LOTS) / _LOTS
        for slot in tier:
            left -= 1.0 / self._share(slot)
            if left < 0:
                return slot
        return tier[0]

    def at(self, address: str, port: int) -> EndpointSlot:
        """Return the slot of a connection's original destination (ORIGINAL_DST clusters)."""
        key = (address, port)
        slot = self._dynamic.get(key)
        if slot is None:
            if len(self._dynamic) >= DYNAMIC_LIMIT:
                self._forget_idle()
            slot = self._dynamic[key] = EndpointSlot(Endpoint(address=address, port=port))
        return slot

    def _forget_idle(self) -> None:
        for key in [key for key, slot in self._dynamic.items() if not slot.active]:
            self._dynamic.pop(key).retire()

    def succeed(self, previous: ClusterTable) -> list[EndpointSlot]:
        """Go on where the table before stopped; return its slots that are not here any more."""
        self.cursor = previous.cursor
        for slot in previous.slots:  # time begins anew, before it is so late that a turn is nothing beside it
            slot.due -= previous._time
        previous._time = 0.0
        self._dynamic = previous._dynamic
        self.circuit = previous.circuit
        self.circuit.renew(self.noun.limits)
        kept = set(self.slots)
        return [slot for slot in previous.slots if slot not in kept]

    def all_slots(self) -> list[EndpointSlot]:
        """Return every slot, learned ones too."""
        return [*self.slots, *self._dynamic.values()]


def compile_cluster(
    noun: Cluster, endpoints: Endpoints | None, previous: ClusterTable | None, seed: int = 0
) -> tuple[ClusterTable, list[EndpointSlot]]:
    """Compile a cluster; slots of endpoints that stay are kept. Also returns the slots that are gone."""
    source = noun.static if noun.static is not None else endpoints
    wanted = source.endpoints if source is not None else ()
    ward = Ward() if previous is None else previous.ward
    known = {} if previous is None else {_slot_key(slot): slot for slot in previous.slots}
    slots: dict[tuple[object, ...], EndpointSlot] = {}
    for endpoint in wanted:
        key = _key(endpoint)
        slot = known.get(key)
        if slot is None:
            slot = EndpointSlot(endpoint, ward)
        else:
            slot.renew(endpoint)
        slots[key] = slot
    table = ClusterTable(noun, list(slots.values()), seed, ward)
    return table, table.succeed(previous) if previous is not None else []


def _slot_key(slot: EndpointSlot) -> tuple[object, ...]:
    return (slot.address, slot.port, slot.mesh, slot.identity, tuple(slot.labels.items()))
