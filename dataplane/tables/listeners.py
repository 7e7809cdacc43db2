"""Which filter chain a connection takes, and what has to be looked at before that can be said.

In: `config.Listener`; per connection its original port, what was detected, ALPN and SNI of a ClientHello. Out: a
`ChainTable` or None, which means close it. At each step the most specific value wins and there is no way back:
a port with chains of its own never falls through to the chains of all ports.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from dataplane.config import ChainMatch, FilterChain, Forward, HttpFilter, Listener, PathRule, TcpFilter
from dataplane.tables.authz import Rulebook, compile_rules
from dataplane.tables.routes import RouteIndex, TargetRow

TLS = "tls"
RAW = "raw_buffer"


class ChainTable:
    """One compiled filter chain."""

    __slots__ = (
        "admission",
        "authorization",
        "codec",
        "duration",
        "facts",
        "head_timeout",
        "http",
        "idle",
        "inbound",
        "keepalive",
        "life",
        "listener",
        "max_requests",
        "max_streams",
        "name",
        "noun",
        "own",
        "paths",
        "request_timeout",
        "route_name",
        "routes",
        "stream_idle",
        "targets",
        "timeouts",
        "tls",
        "trusted_hops",
        "upgrades",
        "use_remote_address",
    )

    def __init__(self, noun: FilterChain, listener: ListenerTable) -> None:
        self.noun = noun
        self.listener = listener
        self.name = noun.name
        self.inbound = listener.noun.inbound
        self.facts = {key: value for key, value in listener.noun.metadata if isinstance(value, str)}
        """Tulle's own facts of the listener (docs/xds-contract.md)."""
        self.own = bool(listener.noun.metadata)
        """A listener of the mesh, not of a file: the client's address goes into `x-forwarded-for`."""
        self.tls = noun.tls
        self.admission = compile_rules(noun.authorization)
        """Rules for connections."""
        self.authorization: Rulebook | None = None
        """Rules for requests."""
        self.http = isinstance(noun.filter, HttpFilter)
        self.route_name = ""
        self.routes: RouteIndex | None = None
        """Inline routes; None when they are looked up by `route_name`."""
        self.targets: list[TargetRow] = []
        """Of a TCP chain."""
        self.codec, self.use_remote_address, self.trusted_hops = "auto", False, 0
        self.request_timeout = self.head_timeout = self.stream_idle = self.life = self.duration = 0.0
        self.max_requests = self.max_streams = 0
        self.keepalive: tuple[float, float] | None = None
        self.paths: PathRule | None = None
        self.upgrades: dict[bytes, bool] = {}
        """Protocols that may be upgraded to or not; what is not named may."""
        if isinstance(noun.filter, HttpFilter):
            self._compile_http(noun.filter)
        else:
            self._compile_tcp(noun.filter)

    def _compile_http(self, noun: HttpFilter) -> None:
        self.codec = noun.codec
        self.authorization = compile_rules(noun.authorization)
        self.use_remote_address = noun.use_remote_address
        self.trusted_hops = noun.trusted_hops
        self.idle = noun.timeouts.idle
        self.stream_idle = noun.timeouts.stream_idle
        self.request_timeout = noun.timeouts.request
        self.head_timeout = noun.timeouts.request_headers
        self.life = noun.timeouts.life
        self.duration = noun.timeouts.duration
        self.keepalive = noun.timeouts.keepalive
        self.max_requests = noun.max_requests
        self.max_streams = noun.max_streams
        self.paths = noun.paths
        self.upgrades = {name.encode(): allowed for name, allowed in noun.upgrades}
        if noun.routes is not None:
            self.routes = RouteIndex(noun.routes)
        else:
            self.route_name = noun.route_name

    def _compile_tcp(self, noun: TcpFilter) -> None:
        self.targets = [TargetRow(target) for target in noun.targets if target.weight > 0]
        self.idle = noun.idle_timeout
        self.life = noun.life

    @property
    def patience(self) -> float:
        """The shortest limit that is kept by looking now and then; 0 when there is none."""
        own = [self.idle, self.stream_idle, self.life, self.routes.patience if self.routes is not None else 0.0]
        own += self.keepalive or ()
        return min((seconds for seconds in own if seconds > 0), default=0.0)

    @property
    def names_servers(self) -> bool:
        """Whether a rule asks for the server name of the TLS handshake."""
        return any(book is not None and book.names_servers for book in (self.admission, self.authorization))

    def choose(self, dice: float) -> TargetRow | None:
        """Choose a TCP target by weight; `dice` is in [0, 1)."""
        left = dice * sum(target.weight for target in self.targets)
        for target in self.targets:
            left -= target.weight
            if left < 0:
                return target
        return None


class ListenerTable:
    """One compiled listener."""

    __slots__ = ("chains", "default", "name", "noun", "patience")

    def __init__(self, noun: Listener) -> None:
        self.noun = noun
        self.name = noun.name
        self.chains = [ChainTable(chain, self) for chain in noun.chains]
        self.default = ChainTable(noun.default_chain, self) if noun.default_chain is not None else None
        chains = [*self.chains, self.default] if self.default is not None else self.chains
        self.patience = min((chain.patience for chain in chains if chain.patience), default=0.0)

    @property
    def clusters(self) -> set[str]:
        """The clusters its own chains lead to, without those of route tables pushed by themselves."""
        chains = [*self.chains, self.default] if self.default is not None else self.chains
        found = {target.cluster for chain in chains for target in chain.targets}
        for chain in chains:
            rows = (
                [route for host in chain.routes.noun.hosts for route in host.routes] if chain.routes is not None else []
            )
            found |= {
                target.cluster for row in rows if isinstance(row.action, Forward) for target in row.action.targets
            }
        return found

    def candidates(self, port: int) -> list[ChainTable]:
        """Return the chains a connection to this original port may still take."""
        exact = [chain for chain in self.chains if chain.noun.match.destination_port == port]
        return exact or [chain for chain in self.chains if not chain.noun.match.destination_port]

    def undecided(self, port: int) -> bool:
        """Whether the first bytes must be seen before the chain is known (or its codec, when it says `auto`)."""
        chains = self.candidates(port)
        if len(chains) != 1:
            return bool(chains)
        match = chains[0].noun.match
        return bool(match.transport or match.alpn or match.sni) or chains[0].names_servers

    def match(self, port: int, transport: str, alpn: AbstractSet[str], sni: str) -> ChainTable | None:
        """Return the chain of a connection; `alpn` is what TLS offers or what plaintext was detected to be."""
        chains = self.candidates(port)
        chains = _narrow(chains, [c for c in chains if c.noun.match.transport == transport], "transport")
        chains = _narrow(chains, [c for c in chains if not alpn.isdisjoint(c.noun.match.alpn)], "alpn")
        chains = _narrow(chains, _by_name(chains, sni), "sni")
        return chains[0] if chains else self.default

    def chain(self, name: str) -> ChainTable | None:
        """Return a chain by name: how a connection finds its chain's newer form."""
        for chain in self.chains:
            if chain.name == name:
                return chain
        return self.default if self.default is not None and self.default.name == name else None


def _narrow(chains: list[ChainTable], specific: list[ChainTable], field: str) -> list[ChainTable]:
    return specific or [chain for chain in chains if not getattr(chain.noun.match, field)]


def _by_name(chains: list[ChainTable], sni: str) -> list[ChainTable]:
    """Chains for this server name: the exact ones, else those with the longest wildcard (`*.example.com`)."""
    exact = [chain for chain in chains if sni and sni in chain.noun.match.sni]
    if exact or not sni:
        return exact
    best: list[ChainTable] = []
    longest = 0
    for chain in chains:
        size = max((len(name) for name in chain.noun.match.sni if _covers(name, sni)), default=0)
        if size > longest:
            best, longest = [chain], size
    return best


def _covers(pattern: str, sni: str) -> bool:
    return pattern.startswith("*.") and sni.endswith(pattern[1:])


def describe(match: ChainMatch) -> str:
    """Say in one line what a chain is for."""
    parts = [
        f"port {match.destination_port}" if match.destination_port else "",
        match.transport,
        f"ALPN {', '.join(match.alpn)}" if match.alpn else "",
        f"SNI {', '.join(match.sni)}" if match.sni else "",
    ]
    return "; ".join(part for part in parts if part) or "everything"
