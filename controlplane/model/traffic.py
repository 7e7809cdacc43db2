"""Routes of all four kinds in one shape: whom they are attached to, what they match, what is done.

GRPCRoute matches are written as HTTP ones here (a call is `POST /<service>/<method>`), so one compiler serves both.
A rule that cannot be carried out keeps its place and carries the sentence why in `error`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.model.meta import Key, RouteKey

ROUTE_KINDS = ("GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute")
"""In the order that decides when several kinds are attached to the same port (GEP-1294)."""


class PathKind(enum.Enum):
    """How a path is compared; the value is its rank in precedence."""

    EXACT = 3
    REGEX = 2
    PREFIX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A value compared exactly or by a whole-string regular expression."""

    value: str
    regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """All parts must hold."""

    path_kind: PathKind = PathKind.PREFIX
    path: str = "/"
    method: str = ""
    headers: tuple[tuple[str, Text], ...] = ()
    """Names in lower case, each once."""
    query: tuple[tuple[str, Text], ...] = ()
    rank: tuple[int, ...] = ()
    """GRPCRoute: its own order of precedence (exactness, service length, method length). HTTPRoute: of a pattern, the length it was written with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """Header changes in the order set, add, remove."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """A path replaced as a whole, or only the prefix that matched."""

    value: str
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What the backend gets to see instead."""

    hostname: str = ""
    path: PathChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where the client is sent; empty parts keep the request's own."""

    scheme: str = ""
    hostname: str = ""
    port: int = 0
    path: PathChange | None = None
    status: int = 302


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where a share of the traffic goes."""

    group: str = ""
    kind: str = "Service"
    namespace: str
    name: str
    port: int = 0
    weight: int = 1
    request_headers: Headers | None = None
    response_headers: Headers | None = None

    @property
    def key(self) -> Key:
        """The Service it names."""
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of a fraction (0 to 1) of the requests."""

    backend: Backend
    fraction: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a request may be tried again."""

    codes: tuple[int, ...] = ()
    attempts: int = 1
    backoff: float = 0.0
    """Seconds; 0 leaves it to the sidecar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a route."""

    matches: tuple[Match, ...] = (Match(),)
    backends: tuple[Backend, ...] = ()
    request_headers: Headers | None = None
    response_headers: Headers | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    timeout: float = 0.0
    """Seconds for the whole request; 0 is none."""
    try_timeout: float = 0.0
    """Seconds for one try; 0 is none."""
    retry: Retry | None = None
    error: str = ""
    """Why the rule cannot be carried out; what it matches is answered 500."""
    lost: bool = False
    """Whether that is a pattern nobody can read: `matches` then cover what it may have meant, and nobody else gets those requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A Service a route is attached to."""

    namespace: str
    name: str
    port: int = 0
    """0 for every port."""
    section: str = ""
    """A port by name."""
    reference: Mapping[str, object] = field(hash=False, default_factory=dict)
    """The parentRef as the user wrote it; status entries repeat it."""

    @property
    def key(self) -> Key:
        """The Service it names."""
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route object, with its Service parents only; Gateways are somebody else's."""

    key: RouteKey
    parents: tuple[Parent, ...] = ()
    rules: tuple[Rule, ...] = ()
    hostnames: tuple[str, ...] = ()
    """Meaningful for TLSRoute (server names); a mesh gives them no meaning elsewhere (GEP-1294)."""
    generation: int = 0
    created: str = ""
