"""Which row a request takes: virtual host by authority, then rows in order, the first that matches wins.

In: `config.RouteTable`; per request its head, and a dice for weighted targets. Out: a `RouteRow`, or None for no match.
A table of one host and one row that matches everything costs two comparisons.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import (
    DirectResponse,
    Forward,
    HeaderChange,
    Redirect,
    RetryPolicy,
    Route,
    RouteTable,
    Target,
    VirtualHost,
)
from dataplane.protocol.events import RequestHead
from dataplane.tables.edits import HeaderEdit, compile_edits
from dataplane.tables.endpoints import ClusterTable
from dataplane.tables.matching import Matcher, joined, query_value
from dataplane.tables.paths import normal_path
from meshapi.patterns import Pattern, Substitution, pattern

_ANY = 0
_EXACT = 1
_SEPARATED = 2
_PREFIX = 3
_REGEX = 4
_FEW = 8
"""Rows that are asked one by one as fast as they are found by their paths."""


class TargetRow:
    """A cluster by name, with what is changed on the way to it."""

    __slots__ = ("cluster", "found", "found_in", "request_edit", "response_edit", "weight")

    def __init__(self, target: Target) -> None:
        self.cluster = target.cluster
        self.weight = target.weight
        self.found: ClusterTable | None = None
        """The cluster in `found_in`, the tables it was last looked up in."""
        self.found_in: object = None
        self.request_edit = HeaderEdit(target.request_headers) if target.request_headers else None
        self.response_edit = HeaderEdit(target.response_headers) if target.response_headers else None


class RouteRow:
    """One compiled route."""

    __slots__ = (
        "_all",
        "_headers",
        "_method",
        "_path",
        "_path_op",
        "_prefix_rewrite",
        "_query",
        "_regex",
        "_regex_rewrite",
        "answering",
        "direct",
        "duration",
        "gathering",
        "grpc_duration",
        "host_rewrite",
        "idle",
        "mirrors",
        "name",
        "not_found_status",
        "noun",
        "only",
        "order",
        "redirect",
        "request_edits",
        "response_edits",
        "retry",
        "retry_from",
        "rewrites",
        "stages",
        "targets",
        "timeout",
        "total",
        "try_idle",
        "try_timeout",
        "upgrades",
    )

    def __init__(
        self, route: Route, request: HeaderChange | None, response: HeaderChange | None, order: int = 0
    ) -> None:
        self.noun = route
        self.order = order
        """Its place among the rows of its host."""
        self.name = route.name
        self.request_edits = compile_edits(route.request_headers, request)
        self.response_edits = compile_edits(route.response_headers, response)
        self._compile_match(route)
        action = route.action
        self.redirect = action if isinstance(action, Redirect) else None
        self.direct = action if isinstance(action, DirectResponse) else None
        self._compile_forward(action if isinstance(action, Forward) else Forward(targets=()))

    def _compile_match(self, route: Route) -> None:
        match = route.match
        self._path_op, self._path = _ANY, b""
        self._regex: Pattern | None = None
        if match.path is not None:
            self._path_op, self._path = _EXACT, match.path.encode()
        elif match.separated_prefix is not None:
            self._path_op, self._path = _SEPARATED, match.separated_prefix.rstrip("/").encode()
        elif match.regex is not None:
            self._path_op, self._regex = _REGEX, pattern(match.regex)
        elif (match.prefix or "/") != "/":
            self._path_op, self._path = _PREFIX, (match.prefix or "").encode()
        if self._path_op == _SEPARATED and not self._path:
            self._path_op = _ANY
        self._method = Matcher(match.method) if match.method is not None else None
        self._headers = [(name.lower().encode(), Matcher(one)) for name, one in match.headers]
        self._query = [(name.encode(), Matcher(one)) for name, one in match.query]
        self._all = self._path_op == _ANY and self._method is None and not self._headers and not self._query

    def _compile_forward(self, forward: Forward) -> None:
        self.targets = [TargetRow(target) for target in forward.targets if target.weight > 0]
        self.only = self.targets[0] if len(self.targets) == 1 else None
        self.total = sum(target.weight for target in self.targets)
        self.timeout = forward.timeout
        self.idle = -1.0 if forward.idle is None else forward.idle
        """-1 leaves it to the chain."""
        self.duration = -1.0 if forward.duration is None else forward.duration
        self.grpc_duration = forward.grpc_duration
        self.upgrades = {name.encode(): allowed for name, allowed in forward.upgrades}
        self.retry = forward.retry
        self.retry_from = _lowest_retried(forward.retry)
        """The lowest status that may be retried: what is below is never looked at again."""
        self.try_timeout = forward.retry.per_try_timeout if forward.retry is not None else 0.0
        self.try_idle = forward.retry.per_try_idle if forward.retry is not None else 0.0
        self.mirrors = [(name, share) for name, share in forward.mirrors if share > 0]
        self.not_found_status = forward.not_found_status
        self.host_rewrite = forward.host_rewrite.encode() if forward.host_rewrite else b""
        self._prefix_rewrite = None if forward.prefix_rewrite is None else forward.prefix_rewrite.encode()
        self._regex_rewrite = Substitution(*forward.regex_rewrite) if forward.regex_rewrite is not None else None
        self.rewrites = self._prefix_rewrite is not None or self._regex_rewrite is not None
        self.stages: Any = None
        """What the proxy makes of all this for a request on its way (`proxy.stages`), once it is taken."""
        self.answering: Any = None
        """Those of them that see the answer."""
        self.gathering: Any = None
        """Those that see a body before a server does."""

    @property
    def path(self) -> tuple[int, bytes]:
        """How the path is asked for, and what is compared with it."""
        return self._path_op, self._path

    @property
    def matches_all(self) -> bool:
        """Whether nothing is asked of a request."""
        return self._all

    def matches(self, path: bytes, head: RequestHead) -> bool:
        """Tell whether the row is for this request; `path` is the normalised one."""
        if self._all:
            return True
        return self._path_matches(path) and self._rest_matches(head)

    def _path_matches(self, path: bytes) -> bool:
        op = self._path_op
        if op == _ANY:
            return True
        if op == _EXACT:
            return path == self._path
        if op == _PREFIX:
            return path.startswith(self._path)
        if op == _SEPARATED:
            if not path.startswith(self._path):
                return False
            size = len(self._path)
            return len(path) == size or path[size] == 47
        return self._regex is not None and self._regex.matches(path)

    def _rest_matches(self, head: RequestHead) -> bool:
        if self._method is not None and not self._method.test(head.method):
            return False
        for pair in self._headers:
            name = pair[0]
            matcher = pair[1]
            value = _pseudo(head, name) if name.startswith(b":") else joined(head.headers, name)
            if not matcher.test(value):
                return False
        for pair in self._query:
            matcher = pair[1]
            if not matcher.test(query_value(head.path, pair[0])):
                return False
        return True

    def choose(self, dice: float) -> TargetRow | None:
        """Choose a target by weight; `dice` is in [0, 1). None when no target has weight."""
        if self.only is not None:
            return self.only
        left = dice * self.total
        for target in self.targets:
            left -= target.weight
            if left < 0:
                return target
        return None

    def rewrite(self, path: bytes) -> bytes:
        """Return the path to send, query kept: made of the path that was matched, which is the normalised one."""
        bare, mark, query = path.partition(b"?")
        path = normal_path(bare) + mark + query
        if self._regex_rewrite is not None:
            bare, mark, query = path.partition(b"?")
            return self._regex_rewrite.apply(bare) + mark + query
        if self._prefix_rewrite is None or not path.startswith(self._path):
            return path
        rest = path[len(self._path) :]
        start: bytes = self._prefix_rewrite
        if self._path_op == _SEPARATED or self._path_op == _ANY:  # noqa: PLR1714 - plain C compares
            rest = rest.removeprefix(b"/") if self._path_op == _ANY else rest
            if start.endswith(b"/") and (rest[:1] == b"/"):
                rest = rest[1:]
            elif not start.endswith(b"/") and rest and rest[:1] not in {b"/", b"?"}:
                start += b"/"
        return (start + rest) or b"/"


def _lowest_retried(policy: RetryPolicy | None) -> int:
    if policy is None:
        return 1000
    lowest = {"5xx": 500, "gateway-error": 502, "retriable-4xx": 409}
    found = [status for word, status in lowest.items() if word in policy.on]
    if "retriable-status-codes" in policy.on:
        found += policy.codes
    return min(found, default=1000)


def _pseudo(head: RequestHead, name: bytes) -> bytes | None:
    """Return what Envoy calls a pseudo header of the request."""
    if name == b":method":
        return head.method
    if name == b":path":
        return head.path
    if name == b":authority":
        return head.authority
    return head.scheme if name == b":scheme" else None


class RowIndex:
    """Many rows by their paths: of those that ask for another path none is looked at."""

    __slots__ = ("_exact", "_lengths", "_others", "_prefixes", "_segment_lengths", "_segments")

    def __init__(self, rows: list[RouteRow]) -> None:
        self._exact: dict[bytes, list[RouteRow]] = {}
        self._segments: dict[bytes, list[RouteRow]] = {}
        self._prefixes: dict[bytes, list[RouteRow]] = {}
        self._others: list[RouteRow] = []
        """Those that ask for no path, or by a pattern."""
        by_path = {_EXACT: self._exact, _SEPARATED: self._segments, _PREFIX: self._prefixes}
        for row in rows:
            op, path = row.path
            (by_path[op].setdefault(path, []) if op in by_path else self._others).append(row)
        self._segment_lengths = sorted({len(path) for path in self._segments})
        self._lengths = sorted({len(path) for path in self._prefixes})

    def match(self, path: bytes, head: RequestHead) -> RouteRow | None:
        """Return the first row that matches; `path` is the normalised one."""
        size = len(path)
        best = _before(None, self._exact.get(path), path, head)
        for length in self._segment_lengths:
            if length > size:
                break
            if length == size or path[length] == 47:
                best = _before(best, self._segments.get(path[:length]), path, head)
        for length in self._lengths:
            if length > size:
                break
            best = _before(best, self._prefixes.get(path[:length]), path, head)
        return _before(best, self._others, path, head)


def _before(best: RouteRow | None, rows: list[RouteRow] | None, path: bytes, head: RequestHead) -> RouteRow | None:
    """Return the first of the rows, which are in order, that matches and comes before `best`; else `best`."""
    if rows is None:
        return best
    for row in rows:
        if best is not None and row.order > best.order:
            return best
        if row.matches(path, head):
            return row
    return best


class HostTable:
    """The rows of a virtual host."""

    __slots__ = ("_first", "_index", "domains", "rows")

    def __init__(self, host: VirtualHost, table: RouteTable) -> None:
        self.domains = host.domains
        self.rows = [
            RouteRow(route, table.request_headers, table.response_headers, order)
            for order, route in enumerate(host.routes)
        ]
        self._first = self.rows[0] if self.rows and self.rows[0].matches_all else None
        self._index = RowIndex(self.rows) if len(self.rows) > _FEW else None

    def match(self, head: RequestHead) -> RouteRow | None:
        """Return the first row that matches."""
        if self._first is not None:
            return self._first
        path = normal_path(head.path)
        if self._index is not None:
            return self._index.match(path, head)
        for row in self.rows:
            if row.matches(path, head):
                return row
        return None


class RouteIndex:
    """A compiled RouteConfiguration."""

    __slots__ = ("_any", "_exact", "_prefixes", "_suffixes", "name", "noun", "only", "patience")

    def __init__(self, noun: RouteTable) -> None:
        self.noun = noun
        self.name = noun.name
        self._exact: dict[bytes, HostTable] = {}
        self._suffixes: list[tuple[bytes, HostTable]] = []
        self._prefixes: list[tuple[bytes, HostTable]] = []
        self._any: HostTable | None = None
        hosts = [HostTable(host, noun) for host in noun.hosts]
        for host in hosts:
            self._add(host)
        self.patience = min((row.idle for host in hosts for row in host.rows if row.idle > 0), default=0.0)
        """The shortest idle time of a route; 0 when none has one."""
        self._suffixes.sort(key=lambda pair: -len(pair[0]))
        self._prefixes.sort(key=lambda pair: -len(pair[0]))
        alone = not (self._exact or self._suffixes or self._prefixes)
        self.only: HostTable | None = self._any if alone else None

    def _add(self, host: HostTable) -> None:
        for domain in host.domains:
            raw = domain.lower().encode()
            if raw == b"*":
                self._any = host if self._any is None else self._any
            elif raw.startswith(b"*"):
                self._suffixes.append((raw[1:], host))
            elif raw.endswith(b"*"):
                self._prefixes.append((raw[:-1], host))
            else:
                self._exact.setdefault(raw, host)

    def host(self, authority: bytes) -> HostTable | None:
        """Return the virtual host of an authority: exact, then longest suffix, longest prefix, any (as Envoy does)."""
        if self.only is not None:
            return self.only
        name = authority.lower()
        found = self._exact.get(name)
        if found is not None:
            return found
        for pair in self._suffixes:
            if name.endswith(pair[0]) and len(name) > len(pair[0]):
                return pair[1]
        for pair in self._prefixes:
            if name.startswith(pair[0]) and len(name) > len(pair[0]):
                return pair[1]
        return self._any

    def match(self, head: RequestHead) -> RouteRow | None:
        """Return the row a request takes, or None."""
        host = self.only if self.only is not None else self.host(head.authority)
        return None if host is None else host.match(head)
