"""Authorization rules, from Envoy's RBAC filters to nouns.

In: RBAC filter messages, of HTTP and of connections. Out: `Authorization`. Refuses every condition the sidecar does not evaluate (CEL, metadata,
filter state, extensions), and in rules for connections whatever asks about a request: passing over one would let in whom it keeps out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from dataplane.config import Authorization, Condition, Policy, Rules, StringMatch
from dataplane.xds.decode_routes import header_match
from dataplane.xds.reading import BadPatternError, RefusedError, choice, number, string_match
from dataplane.xds.watched import lose, pass_over

NETWORK = "envoy.extensions.filters.network.rbac.v3.RBAC"
HTTP = "envoy.extensions.filters.http.rbac.v3.RBAC"

_CEL = ("condition", "checked_condition", "cel_config")


def authorization(message: Any, where: str) -> Authorization:
    """Read an RBAC filter of either kind."""
    reader = _Reader(requests=message.DESCRIPTOR.full_name == HTTP)
    return Authorization(
        rules=reader.rules(message.rules, where) if message.HasField("rules") else None,
        shadow=reader.rules(message.shadow_rules, f"{where}, shadow rules")
        if message.HasField("shadow_rules")
        else None,
    )


class _Reader:
    """Reads the trees of one filter."""

    def __init__(self, *, requests: bool) -> None:
        self._requests = requests
        """Whether there are requests to ask about."""
        self._deny = False
        """Whether the rules refuse what they hold for."""

    def rules(self, message: Any, where: str) -> Rules | None:
        """Read rules; those that only log refuse nothing and are left out."""
        action = choice(message, "action", where)
        if action == "LOG":
            pass_over(message, "policies")
            return None
        self._deny = action == "DENY"
        policies = (self.policy(name, message.policies[name], where) for name in sorted(message.policies))
        return Rules(deny=self._deny, policies=tuple(one for one in policies if one is not None))

    def policy(self, name: str, message: Any, filter_: str) -> Policy | None:
        """Read one policy; None of one that allows nothing that could be read."""
        where = f"{filter_}, policy {name}"
        if any(message.HasField(field) for field in _CEL):
            raise RefusedError(f"{where}: CEL conditions are not evaluated; write it as permissions and principals")
        permissions = self._alternatives(self.permission, message.permissions, f"{where}, permissions")
        principals = self._alternatives(self.principal, message.principals, f"{where}, principals")
        return Policy(name=name, permissions=permissions, principals=principals) if permissions and principals else None

    def _alternatives(self, read: Callable[[Any, str], Condition], messages: Any, where: str) -> tuple[Condition, ...]:
        """Read what a policy holds for, each by itself. One with a pattern nobody can read closes: it denies all, or allows none."""
        kept = []
        for one in _listed(messages, where):
            try:
                kept.append(read(one, where))
            except BadPatternError as error:
                lose(one, str(error))
                if self._deny:
                    kept.append(Condition())
        return tuple(kept)

    def permission(self, message: Any, where: str) -> Condition:
        """Read what may be done."""
        kind = message.WhichOneof("rule")
        value: Any = getattr(message, kind) if kind else None
        match kind:
            case "and_rules":
                return Condition(all_of=_several(self.permission, value.rules, where))
            case "or_rules":
                return Condition(any_of=_several(self.permission, value.rules, where))
            case "not_rule":
                return Condition(none_of=self.permission(value, where))
            case "destination_ip":
                return Condition(destination=_network(value, where))
            case "destination_port":
                return Condition(ports=(int(message.destination_port), int(message.destination_port)))
            case "destination_port_range":
                return Condition(ports=(value.start, value.end - 1))
            case "requested_server_name":
                return Condition(server_name=string_match(value, where))
            case _:
                return self._either(kind, value, where)

    def principal(self, message: Any, where: str) -> Condition:
        """Read who may do it."""
        kind = message.WhichOneof("identifier")
        value: Any = getattr(message, kind) if kind else None
        match kind:
            case "and_ids":
                return Condition(all_of=_several(self.principal, value.ids, where))
            case "or_ids":
                return Condition(any_of=_several(self.principal, value.ids, where))
            case "not_id":
                return Condition(none_of=self.principal(value, where))
            case "authenticated":
                named = message.authenticated.HasField("principal_name")
                anybody = StringMatch(present=True)
                return Condition(
                    identity=string_match(message.authenticated.principal_name, where) if named else anybody
                )
            case "source_ip" | "direct_remote_ip":
                return Condition(direct_source=_network(value, where))
            case "remote_ip":
                return Condition(source=_network(value, where))
            case _:
                return self._either(kind, value, where)

    def _either(self, kind: str | None, value: Any, where: str) -> Condition:
        """Read what can stand for both."""
        if kind == "any":
            if not value:
                raise RefusedError(f"{where}: any is false, which holds for nobody; leave the condition out")
            return Condition()
        if kind in {"header", "url_path"} and not self._requests:
            raise RefusedError(f"{where}: {kind} needs a request, and these rules are for connections")
        if kind == "header":
            return Condition(header=(value.name.lower(), header_match(value, where)))
        if kind == "url_path":
            return Condition(path=string_match(value.path, where))
        raise RefusedError(f"{where}: a condition by {kind or 'nothing'} is not supported")


def _several(read: Callable[[Any, str], Condition], messages: Any, where: str) -> tuple[Condition, ...]:
    return tuple(read(one, where) for one in _listed(messages, where))


def _listed(messages: Any, where: str) -> Any:
    """Check a list, which Envoy wants not to be empty."""
    if not messages:
        raise RefusedError(f"{where}: an empty list says nothing; `any: true` is everything")
    return messages


def _network(message: Any, where: str) -> str:
    """Read a CIDR range; without a length it is `/0`, as in Envoy."""
    text = f"{message.address_prefix}/{number(message, 'prefix_len', 0)}"
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise RefusedError(f"{where}: {text!r} is no address range") from None
