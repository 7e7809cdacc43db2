"""Tables made of what differs, by a machine that changes whatever a configuration holds; what a look at everything would find is the judge.

After every step: each table is that of the noun in force; what this pod accepts is there still, though its configuration went; who left is told to leave, once; and what is
derived of all is what all come to.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dataplane.config import (
    ChainMatch,
    Cluster,
    Endpoint,
    Endpoints,
    FilterChain,
    Forward,
    HttpFilter,
    HttpTimeouts,
    Listener,
    Route,
    RouteMatch,
    RouteTable,
    SidecarConfig,
    Target,
    TcpFilter,
    VirtualHost,
)
from dataplane.tables.compile import Tables, compile_tables
from dataplane.tables.endpoints import EndpointSlot
from meshapi.records import replace
from meshapi.table import tabled
from tests.support.machines import bounded, within

pytestmark = within(240)

NAMES = st.sampled_from(["a", "b", "c"])
LIMITS = st.sampled_from([0.0, 1.0, 2.0, 5.0])
ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), max_size=3, unique=True)
DENIES = (("outbound_policy", "deny"),)


class Compiling(RuleBasedStateMachine):
    """A configuration, the tables made of it step by step, and what must be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SidecarConfig()
        self.tables = compile_tables(self.config)
        self.accepted: dict[str, Listener] = {}
        """What the pod accepts, as it was last."""
        self.outlived: set[str] = set()

    def put(self, kind: str, name: str, noun: object) -> None:
        """Change one noun; None takes it away."""
        self.config = replace(self.config, **{kind: tabled(getattr(self.config, kind)).after({name: noun})})

    @rule(
        name=NAMES, idle=LIMITS, leads_to=NAMES, way=st.sampled_from(["out", "in", "in, denies"]), there=st.booleans()
    )
    def listener(self, name: str, idle: float, leads_to: str, way: str, there: bool) -> None:
        opaque = TcpFilter(targets=(Target(cluster=leads_to),))
        filters = (HttpFilter(route_name=leads_to, timeouts=HttpTimeouts(idle=idle)), opaque)
        chains = tuple(FilterChain(name=str(n), match=ChainMatch(), filter=one) for n, one in enumerate(filters))
        metadata = DENIES if "denies" in way else ()
        noun = Listener(name=name, address="", port=0, chains=chains, inbound=way != "out", metadata=metadata)
        self.put("listeners", name, noun if there else None)

    @rule(name=NAMES, idle=LIMITS, there=st.booleans())
    def routes(self, name: str, idle: float, there: bool) -> None:
        row = Route(match=RouteMatch(prefix="/"), action=Forward(targets=(Target(cluster="a"),), idle=idle))
        noun = RouteTable(name=name, hosts=(VirtualHost(domains=("*",), routes=(row,)),))
        self.put("routes", name, noun if there else None)

    @rule(name=NAMES, of=NAMES, idle=LIMITS, there=st.booleans())
    def cluster(self, name: str, of: str, idle: float, there: bool) -> None:
        noun = Cluster(name=name, kind="eds", endpoints_name=of, idle=idle)
        self.put("clusters", name, noun if there else None)

    @rule(name=NAMES, addresses=ADDRESSES, there=st.booleans())
    def endpoints(self, name: str, addresses: list[str], there: bool) -> None:
        noun = Endpoints(name=name, endpoints=tuple(Endpoint(address=one, port=80) for one in addresses))
        self.put("endpoints", name, noun if there else None)

    @rule(kind=st.sampled_from(["listeners", "routes", "clusters", "endpoints"]))
    def anew(self, kind: str) -> None:
        """The same nouns, by a mapping that knows nothing of the one before; as a file is read again."""
        self.config = replace(self.config, **{kind: dict(getattr(self.config, kind))})

    @rule()
    def install(self) -> None:
        before, config = self.tables, self.config
        now = self.tables = compile_tables(config, before)
        listeners = {
            **{name: one for name, one in self.accepted.items() if name not in config.listeners},
            **config.listeners,
        }
        self.accepted = {name: one for name, one in listeners.items() if one.inbound}
        own = {name for name in self.accepted for name in now.listeners[name].clusters}
        self.outlived = {name for name in before.clusters if name not in config.clusters and name in own}

        assert {name: one.noun for name, one in now.listeners.items()} == listeners
        assert {name: one.noun for name, one in now.routes.items()} == dict(config.routes)
        assert {*now.clusters} == {*config.clusters} | self.outlived
        assert now.unknown_denied == any(one.metadata == DENIES for one in self.accepted.values())
        assert now.patience == min(filter(None, self.limits(now)), default=0.0)
        assert sorted(map(id, now.retired)) == sorted(map(id, slots(before) - slots(now)))
        renewed = {
            name
            for name in config.clusters
            if name in before.clusters and before.clusters[name].noun != config.clusters[name]
        }
        assert {one.name for one in now.renewed} >= renewed

    def limits(self, tables: Tables) -> list[float]:
        """Every limit there is."""
        patient: list[Any] = [*tables.listeners.values(), *tables.routes.values()]
        return [one.patience for one in patient] + [one.idle or 0.0 for one in self.config.clusters.values()]

    @invariant()
    def clusters_have_their_endpoints(self) -> None:
        config = self.tables.config
        for name, noun in config.clusters.items():
            known = config.endpoints.get(noun.endpoints_name)
            wanted = {one.address for one in known.endpoints} if known is not None else set()
            assert {slot.address for slot in self.tables.clusters[name].slots} == wanted


def slots(tables: Tables) -> set[EndpointSlot]:
    """Every slot of these tables."""
    return {slot for cluster in tables.clusters.values() for slot in cluster.slots}


Compiling.TestCase.settings = bounded(400, 40)
TestCompiling = Compiling.TestCase
