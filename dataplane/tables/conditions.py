"""Conditions of rules: compiled once, made small for each connection, asked of each request.

In: `config.Condition` nouns; `Facts` of a connection; a request's head. Out: a tree of `Node`s, folded, and whether it holds.
What cannot be known (a peer without identity, an address that is none) holds for no condition.
"""

from __future__ import annotations

import ipaddress

from dataplane.config import Condition, StringMatch
from dataplane.protocol.events import Headers, RequestHead
from dataplane.tables.matching import Matcher
from dataplane.tables.paths import normal_path, odd
from meshapi.addresses import ipv4
from meshapi.records import replace

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

HOLDS, FAILS, ALL, PATH, CLIENT, SERVER_NAME = _HOLDS, _FAILS, _ALL, _PATH, _CLIENT, _SERVER_NAME
"""The kinds that `authz` asks about."""


class Address:
    """An IP address as a number; one nobody can read is in no range."""

    __slots__ = ("value", "version")

    def __init__(self, text: str) -> None:
        self.value: int = 0
        self.version = 0
        usual = ipv4(text)
        if usual is not None:
            self.value, self.version = usual, 4
            return
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

    __slots__ = (
        "_high",
        "_invert",
        "_literal",
        "_low",
        "_matcher",
        "_name",
        "_parts",
        "_present",
        "_version",
        "_wide",
        "op",
    )

    def __init__(self, op: int, parts: list[Node]) -> None:
        self.op = op
        self._parts = parts
        self._matcher: Matcher | None = None
        self._name = b""
        self._present = self._invert = self._wide = self._literal = False
        self._low: int = 0
        self._high: int = 0
        self._version = 0

    def test(self, match: StringMatch, name: str = "") -> Node:
        """Compare a string (of a field of this name)."""
        self._matcher = Matcher(replace(match, invert=False))
        self._name = name.encode()
        self._present, self._invert = match.present, match.invert
        return self

    def of_paths(self, match: StringMatch, refuses: bool) -> Node:
        """Compare a path, where a match `refuses` a request or lets it in."""
        self.test(match)
        self._wide = refuses != match.invert
        self._literal = match.exact is not None and odd(match.exact.encode())
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
        if op == _PATH:
            return self._names(head, path) != self._invert
        return self._matcher.test(self._read(head)) != self._invert  # type: ignore[union-attr]

    def _names(self, head: RequestHead, path: bytes) -> bool:
        """Compare a reading of the path.

        What refuses sees no difference in a slash at the end. Who names an odd path letter by letter means all its readings.
        """
        if self._matcher.test(path):  # type: ignore[union-attr]
            return True
        if self._wide and len(path) > 1 and path.endswith(b"/") and self._matcher.test(path[:-1]):  # type: ignore[union-attr]
            return True
        return self._literal and self._matcher.test(normal_path(head.path))  # type: ignore[union-attr]

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

    def _read(self, head: RequestHead) -> bytes:
        op = self.op
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


def any_of(conditions: tuple[Condition, ...], refuses: bool) -> Node:
    """Compile conditions of which one is enough."""
    return Node(_ANY, [compile_condition(one, refuses) for one in conditions])


def compile_condition(noun: Condition, refuses: bool) -> Node:
    """Compile one condition and what is in it; whether a request for which it holds is let in or refused matters to paths."""
    if noun.all_of is not None:
        return Node(_ALL, [compile_condition(one, refuses) for one in noun.all_of])
    if noun.any_of is not None:
        return any_of(noun.any_of, refuses)
    if noun.none_of is not None:
        return Node(_NOT, [compile_condition(noun.none_of, not refuses)])
    if noun.header is not None:
        name, match = noun.header
        return Node(_LINE.get(name, _HEADER), []).test(match, name)
    if noun.ports is not None:
        return Node(_PORTS, []).between(*noun.ports)
    for op, network in ((_DESTINATION, noun.destination), (_DIRECT, noun.direct_source), (_CLIENT, noun.source)):
        if network is not None:
            return _within(op, network)
    if noun.path is not None:
        return Node(_PATH, []).of_paths(noun.path, refuses)
    for op, match_ in ((_IDENTITY, noun.identity), (_SERVER_NAME, noun.server_name)):
        if match_ is not None:
            return Node(op, []).test(match_)
    return Node(_HOLDS, [])


def _within(op: int, network: str) -> Node:
    found = ipaddress.ip_network(network)
    return Node(op, []).between(int(found.network_address), int(found.broadcast_address), found.version)
