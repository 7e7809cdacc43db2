"""Frozen nouns of what is let through: string matches, and authorization rules made of them.

A part of `config`, by whose name they are used; they refuse nothing: decoding has checked them.
"""

from __future__ import annotations

from meshapi.records import record


@record
class StringMatch:
    """One way to match a string: exactly one field is set (`present` asks for no value); `invert` turns the verdict round."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    contains: str | None = None
    regex: str | None = None
    """A match of the whole string by RE2 (`meshapi.patterns`); `ignore_case` means nothing to it, as in Envoy."""
    ignore_case: bool = False
    invert: bool = False
    present: bool = False


@record
class Condition:
    """A node of an authorization rule: exactly one of the fields is set; with none it always holds."""

    all_of: tuple[Condition, ...] | None = None
    any_of: tuple[Condition, ...] | None = None
    none_of: Condition | None = None
    """Holds where this one does not."""
    header: tuple[str, StringMatch] | None = None
    """Lower-case name (`:method`, `:path`, `:authority`, `:scheme` for the request line) and what its value must be."""
    path: StringMatch | None = None
    """What the normalised path must be, without query."""
    ports: tuple[int, int] | None = None
    """Lowest and highest destination port."""
    destination: str | None = None
    """A CIDR range the destination is in."""
    direct_source: str | None = None
    """A CIDR range the connection comes from."""
    source: str | None = None
    """A CIDR range the client is in, as `x-forwarded-for` names it where it is trusted, else as `direct_source`."""
    identity: StringMatch | None = None
    """What the URI in the peer's certificate must be; `present` is any mesh identity."""
    server_name: StringMatch | None = None
    """What the name asked for in the TLS handshake must be."""


@record
class Policy:
    """Holds when one of the permissions (what is done) and one of the principals (by whom) hold."""

    name: str
    permissions: tuple[Condition, ...]
    principals: tuple[Condition, ...]


@record
class Rules:
    """Either only what a policy holds for is allowed, or (`deny`) what one holds for is refused."""

    deny: bool
    policies: tuple[Policy, ...]


@record
class Authorization:
    """One RBAC filter; without `rules` it refuses nothing."""

    rules: Rules | None = None
    shadow: Rules | None = None
    """Only counted, to learn what they would do."""
