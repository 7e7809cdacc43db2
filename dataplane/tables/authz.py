"""Who may do what: authorization rules made small for each connection, so that a request pays only for what it must look at.

In: `config.Authorization` nouns; once a connection what is known of it (`Facts`); per request its head. Out: a `Guard`
that says always, never, or looks at each request with what the connection left open. Refuses nothing: decoding has
checked the nouns.
"""

from __future__ import annotations

from dataplane.config import Authorization, Rules
from dataplane.protocol.events import Headers, RequestHead
from dataplane.tables.conditions import ALL, CLIENT, FAILS, HOLDS, PATH, SERVER_NAME, Address, Facts, Node, any_of
from dataplane.tables.matching import joined
from dataplane.tables.paths import normal_path, other_readings

PER_REQUEST = 0
ALWAYS_ALLOW = 1
ALWAYS_DENY = 2


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
        self._reads_path = any(one.reads(PATH) for one in self._pending)
        self._reads_client = any(one.reads(CLIENT) for one in self._pending)

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
        deny = noun.deny
        self._named = [
            (one.name, Node(ALL, [any_of(one.permissions, deny), any_of(one.principals, deny)]))
            for one in noun.policies
        ]

    def fold(self, facts: Facts) -> Pending | tuple[bool, str]:
        """Return whether a connection is allowed and why, or what has to be asked of each request."""
        left = []
        for name, node in self._named:
            folded = node.fold(facts)
            if folded.op == HOLDS:
                return not self._deny, _words(self._deny, name)
            if folded.op != FAILS:
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
        self.names_servers = any(one.reads(SERVER_NAME) for one in (*self._enforced, *self._shadow))
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
