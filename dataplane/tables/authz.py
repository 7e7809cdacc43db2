"""Who may do what: authorization rules made small for each connection, so that a request pays only for what it must look at.

In: `config.Authorization` nouns; once a connection what is known of it (`Facts`); per request its head. Out: a `Guard`
that says always, never, or looks at each request with what the connection left open. Refuses nothing: decoding has
checked the nouns. What cannot be known (a peer without identity, an address that is none) holds for no condition.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from dataplane.config import Authorization, Condition, Rules, StringMatch
from dataplane.protocol.events import Headers, RequestHead
from dataplane.tables.matching import Matcher, joined, normal_path, other_readings

PER_REQUEST = 0
ALWAYS_ALLOW = 1
ALWAYS_DENY = 2

_HOLDS = 0
_FAILS = 1
_ALL = 2
_ANY = 3
_NOT = 4
_HEADER = 5
_METHOD = 6
_AUTHORITY = 7
_RAW_PATH = 8
_SCHEME = 9
_PATH = 10
_CLIENT = 11
_DIRECT = 12
_DESTINATION = 13
_PORTS = 14
_IDENTITY = 15
_SERVER_NAME = 16

_LINE = {":method": _METHOD, ":authority": _AUTHORITY, "host": _AUTHORITY, ":path": _RAW_PATH, ":scheme": _SCHEME}


class Address:
    """An IP address as a number; one nobody can read is in no range."""

    __slots__ = ("value", "version")

    def __init__(self, text: str) -> None:
        self.value: int = 0
        self.version = 0
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            return
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        self.value, self.version = int(found), found.version


class Facts:
    """What is known of a connection before its first request."""

    __slots__ = ("destination", "hops", "identity", "port", "server_name", "source")

    def __init__(
        self,
        source: str,
        destination: tuple[str, int],
        identity: str = "",
        server_name: str = "",
        hops: int = -1,
    ) -> None:
        self.source = Address(source)
        self.destination = Address(destination[0])
        self.port = destination[1]
        self.identity = identity.encode() if identity else None
        self.server_name = server_name.encode() if server_name else None
        self.hops = hops
        """Trusted proxies named in `x-forwarded-for` before the client; -1: the connection comes from the client."""


class Node:
    """A compiled condition."""

    __slots__ = ("_high", "_invert", "_low", "_matcher", "_name", "_parts", "_present", "_version", "op")

    def __init__(self, op: int, parts: list[Node]) -> None:
        self.op = op
        self._parts = parts
        self._matcher: Matcher | None = None
        self._name = b""
        self._present = self._invert = False
        self._low: int = 0
        self._high: int = 0
        self._version = 0

    def test(self, match: StringMatch, name: str = "") -> Node:
        """Compare a string (of a field of this name)."""
        self._matcher = Matcher(replace(match, invert=False))
        self._name = name.encode()
        self._present, self._invert = match.present, match.invert
        return self

    def between(self, low: int, high: int, version: int = 0) -> Node:
        """Be in a range of ports, or of addresses of an IP version."""
        self._low, self._high, self._version = low, high, version
        return self

    def fold(self, facts: Facts) -> Node:
        """Return what is left to ask of requests on a connection; `_HOLDS` and `_FAILS` ask nothing."""
        op = self.op
        if op == _ALL or op == _ANY:  # noqa: PLR1714, SIM109 - plain C compares
            return self._fold_parts(facts)
        if op == _NOT:
            part = self._parts[0].fold(facts)
            if part.op == _HOLDS:
                return Node(_FAILS, [])
            return Node(_HOLDS, []) if part.op == _FAILS else Node(_NOT, [part])
        if op < _CLIENT or (op == _CLIENT and facts.hops >= 0):
            return self
        return Node(_HOLDS if self._known(facts) else _FAILS, [])

    def _fold_parts(self, facts: Facts) -> Node:
        end = _FAILS if self.op == _ALL else _HOLDS
        kept = []
        for part in self._parts:
            left = part.fold(facts)
            if left.op == end:
                return left
            if left.op > _FAILS:
                kept.append(left)
        if len(kept) == 1:
            return kept[0]
        return Node(self.op, kept) if kept else Node(_HOLDS if self.op == _ALL else _FAILS, [])

    def _known(self, facts: Facts) -> bool:
        op = self.op
        if op == _PORTS:
            return self._low <= facts.port <= self._high
        if op == _IDENTITY:
            return facts.identity is not None and self._matcher.test(facts.identity)  # type: ignore[union-attr]
        if op == _SERVER_NAME:
            return self._matcher.test(facts.server_name or b"")  # type: ignore[union-attr]
        return self._contains(facts.destination if op == _DESTINATION else facts.source)

    def _contains(self, address: Address) -> bool:
        return address.version == self._version and self._low <= address.value <= self._high

    def holds(self, head: RequestHead, path: bytes, client: Address | None) -> bool:
        """Ask a request; `path` is the normalised one."""
        op = self.op
        if op == _ALL:
            for part in self._parts:  # noqa: SIM110 - a plain C loop
                if not part.holds(head, path, client):
                    return False
            return True
        if op == _ANY:
            for part in self._parts:  # noqa: SIM110 - a plain C loop
                if part.holds(head, path, client):
                    return True
            return False
        if op == _NOT:
            return not self._parts[0].holds(head, path, client)
        if op == _CLIENT:
            return client is not None and self._contains(client)
        if op <= _FAILS:
            return op == _HOLDS
        if op == _HEADER:
            return self._has_field(head.headers)
        return self._matcher.test(self._read(head, path)) != self._invert  # type: ignore[union-attr]

    def _has_field(self, headers: Headers) -> bool:
        """Compare each line of a field by itself: joined, a second line would hide the first from a rule (CVE-2026-26308).

        A field that is not there fails, inverted or not, unless presence is what is asked for.
        """
        found = False
        for field in headers:
            if field[0] == self._name:
                found = True
                if self._matcher.test(field[1]):  # type: ignore[union-attr]
                    return not self._invert
        return (found or self._present) and self._invert

    def _read(self, head: RequestHead, path: bytes) -> bytes:
        op = self.op
        if op == _PATH:
            return path
        if op == _METHOD:
            return head.method
        if op == _AUTHORITY:
            return head.authority
        if op == _RAW_PATH:
            return head.path
        return head.scheme

    def reads(self, op: int) -> bool:
        """Tell whether the tree looks at a part of a request."""
        return self.op == op or any(part.reads(op) for part in self._parts)


class Pending:
    """What is left of one filter's rules: named trees, and what it means when one of them holds."""

    __slots__ = ("_deny", "_nodes", "_words", "verdict")

    def __init__(self, deny: bool, named: list[tuple[str, Node]]) -> None:
        self.verdict = ""
        """In words, after `admits`."""
        self._deny = deny
        self._nodes = [node for _, node in named]
        self._words = [_words(deny, name) for name, _ in named] + [_words(deny, "")]

    def admits(self, head: RequestHead, path: bytes, client: Address | None) -> bool:
        """Judge a request."""
        index = 0
        for node in self._nodes:
            if node.holds(head, path, client):
                self.verdict = self._words[index]
                return not self._deny
            index += 1
        self.verdict = self._words[index]
        return self._deny

    def reads(self, op: int) -> bool:
        """Tell whether a tree looks at a part of a request."""
        return any(node.reads(op) for node in self._nodes)


class Guard:
    """The rules of a chain for one connection."""

    __slots__ = ("_hops", "_pending", "_reads_client", "_reads_path", "_source", "shadow", "state", "verdict")

    def __init__(self, facts: Facts, filters: list[Ruling], shadow: Guard | None) -> None:
        self.shadow = shadow
        """Rules that are only counted, or None."""
        self.verdict = "no rules"
        """What decided, in words, after `admits` (or at once, when `state` says so)."""
        self.state = ALWAYS_ALLOW
        self._pending: list[Pending] = []
        self._source = facts.source
        self._hops = facts.hops
        for one in filters:
            left = one.fold(facts)
            if isinstance(left, Pending):
                self._pending.append(left)
            else:
                allowed, self.verdict = left
                if not allowed:
                    self.state, self._pending = ALWAYS_DENY, []
                    break
        if self._pending:
            self.state = PER_REQUEST
        self._reads_path = any(one.reads(_PATH) for one in self._pending)
        self._reads_client = any(one.reads(_CLIENT) for one in self._pending)

    def admits(self, head: RequestHead) -> bool:
        """Judge a request, whose `x-forwarded-for` this proxy has already added its own to."""
        if self.state != PER_REQUEST:
            return self.state == ALWAYS_ALLOW
        client = _client(head.headers, self._hops, self._source) if self._reads_client else None
        if not self._reads_path:
            return self._judge(head, b"", client)
        if not self._judge(head, normal_path(head.path), client):
            return False
        for path in other_readings(head.path):  # noqa: SIM110 - a generator would be made per request
            if not self._judge(head, path, client):
                return False
        return True

    def _judge(self, head: RequestHead, path: bytes, client: Address | None) -> bool:
        for one in self._pending:
            if not one.admits(head, path, client):
                self.verdict = one.verdict
                return False
        self.verdict = self._pending[-1].verdict
        return True


class Ruling:
    """The compiled rules of one filter."""

    __slots__ = ("_deny", "_named")

    def __init__(self, noun: Rules) -> None:
        self._deny = noun.deny
        self._named = [(one.name, Node(_ALL, [_any(one.permissions), _any(one.principals)])) for one in noun.policies]

    def fold(self, facts: Facts) -> Pending | tuple[bool, str]:
        """Return whether a connection is allowed and why, or what has to be asked of each request."""
        left = []
        for name, node in self._named:
            folded = node.fold(facts)
            if folded.op == _HOLDS:
                return not self._deny, _words(self._deny, name)
            if folded.op != _FAILS:
                left.append((name, folded))
        return Pending(self._deny, left) if left else (self._deny, _words(self._deny, ""))

    def reads(self, op: int) -> bool:
        """Tell whether a tree looks at a part of a connection or request."""
        return any(node.reads(op) for _, node in self._named)


class Rulebook:
    """All filters of a chain that check the same thing: connections, or requests."""

    __slots__ = ("_enforced", "_shadow", "names_servers")

    def __init__(self, nouns: tuple[Authorization, ...]) -> None:
        self._enforced = [Ruling(one.rules) for one in nouns if one.rules is not None]
        self._shadow = [Ruling(one.shadow) for one in nouns if one.shadow is not None]
        self.names_servers = any(one.reads(_SERVER_NAME) for one in (*self._enforced, *self._shadow))
        """Whether the name asked for in a TLS handshake must be known."""

    def bind(self, facts: Facts) -> Guard:
        """Decide what can be decided about a connection."""
        return Guard(facts, self._enforced, Guard(facts, self._shadow, None) if self._shadow else None)


def refusing(why: str) -> Guard:
    """Make the guard of a connection that gets nothing any more, whatever it asks."""
    guard = Guard(Facts("", ("", 0)), [], None)
    guard.state, guard.verdict = ALWAYS_DENY, why
    return guard


def compile_rules(nouns: tuple[Authorization, ...]) -> Rulebook | None:
    """Compile the filters of a chain; None when they refuse and count nothing."""
    return Rulebook(nouns) if any(one.rules or one.shadow for one in nouns) else None


def _words(deny: bool, policy: str) -> str:
    if policy:
        return f"policy {policy} {'denies' if deny else 'allows'} it"
    return f"no policy {'denies' if deny else 'allows'} it"


def _any(conditions: tuple[Condition, ...]) -> Node:
    return Node(_ANY, [compile_condition(one) for one in conditions])


def compile_condition(noun: Condition) -> Node:
    """Compile one condition and what is in it."""
    if noun.all_of is not None:
        return Node(_ALL, [compile_condition(one) for one in noun.all_of])
    if noun.any_of is not None:
        return _any(noun.any_of)
    if noun.none_of is not None:
        return Node(_NOT, [compile_condition(noun.none_of)])
    if noun.header is not None:
        name, match = noun.header
        return Node(_LINE.get(name, _HEADER), []).test(match, name)
    if noun.ports is not None:
        return Node(_PORTS, []).between(*noun.ports)
    for op, network in ((_DESTINATION, noun.destination), (_DIRECT, noun.direct_source), (_CLIENT, noun.source)):
        if network is not None:
            return _within(op, network)
    for op, match_ in ((_PATH, noun.path), (_IDENTITY, noun.identity), (_SERVER_NAME, noun.server_name)):
        if match_ is not None:
            return Node(op, []).test(match_)
    return Node(_HOLDS, [])


def _within(op: int, network: str) -> Node:
    found = ipaddress.ip_network(network)
    return Node(op, []).between(int(found.network_address), int(found.broadcast_address), found.version)


def _client(headers: Headers, hops: int, source: Address) -> Address:
    """Read the client's address: the last but `hops` of `x-forwarded-for`, else where the connection comes from."""
    named = joined(headers, b"x-forwarded-for")
    if named is not None:
        parts = named.split(b",")
        if len(parts) > hops:
            found = Address(parts[-1 - hops].strip().decode("latin-1"))
            if found.version:
                return found
    return source
