"""Who is asking: bearer tokens, client certificates, nobody, and somebody acting as somebody else.

In: a request's headers and, on mutual TLS, the peer's certificate as `ssl` gives it. Out: `User`. A credential that is shown and is
wrong is 401, never anonymous; acting as another needs the right to impersonate every part of them (403).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from devcluster.access.rbac import Attributes, Authorizer, forbidden
from devcluster.access.tokens import TokenError, TokenIssuer, account_user
from devcluster.api.errors import StatusError
from devcluster.api.users import ANONYMOUS, User

Headers = Iterable[tuple[str, str]]
_EXTRA = "impersonate-extra-"


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Turns credentials into users."""

    issuer: TokenIssuer
    static: Mapping[str, User]
    """Tokens that are good as long as the cluster lives: the administrator's."""

    def authenticate(self, headers: Headers, certificate: Mapping[str, Any] | None = None) -> User:
        """Say who asks; raises StatusError(401)."""
        scheme, _, token = next((v for k, v in headers if k.lower() == "authorization"), "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self._bearer(token.strip())
        if certificate and certificate.get("subject"):
            return _certified(certificate)
        return ANONYMOUS

    def _bearer(self, token: str) -> User:
        if token in self.static:
            return _authenticated(self.static[token])
        try:
            return self.issuer.check(token).user()
        except TokenError as error:
            raise StatusError(401, "Unauthorized", "Unauthorized") from error

    def impersonate(self, user: User, headers: Headers, authorizer: Authorizer) -> User:
        """Say as whom the request acts; raises StatusError(403)."""
        wanted = [(name.lower(), value) for name, value in headers if name.lower().startswith("impersonate-")]
        if not wanted:
            return user
        names = [value for name, value in wanted if name == "impersonate-user"]
        if len(names) != 1 or not names[0]:
            message = "requested impersonation of groups, uid or extra without impersonating a user"
            raise StatusError(400, "BadRequest", message)
        groups = tuple(value for name, value in wanted if name == "impersonate-group")
        extra: dict[str, list[str]] = {}
        for name, value in wanted:
            if name.startswith(_EXTRA):
                extra.setdefault(unquote(name.removeprefix(_EXTRA)), []).append(value)
        uid = next((value for name, value in wanted if name == "impersonate-uid"), "")
        for attributes in _needed(names[0], groups, uid, extra):
            ok, reason = authorizer.allowed(user, attributes)
            if not ok:
                raise forbidden(user, attributes, reason)
        if names[0].startswith("system:serviceaccount:") and not groups:
            namespace, _, account = names[0].removeprefix("system:serviceaccount:").partition(":")
            groups = account_user(namespace, account).groups
        return _authenticated(User(name=names[0], groups=groups, uid=uid, extra=extra))


def _certified(certificate: Mapping[str, Any]) -> User:
    parts = [pair for rdn in certificate["subject"] for pair in rdn]
    name = next((value for key, value in parts if key == "commonName"), "")
    groups = tuple(value for key, value in parts if key == "organizationName")
    if not name:
        raise StatusError(401, "Unauthorized", "Unauthorized")
    return _authenticated(User(name=name, groups=groups))


def _authenticated(user: User) -> User:
    known = {"system:authenticated", "system:unauthenticated"} & set(user.groups)
    if known or user.name == ANONYMOUS.name:
        return user if known else User(name=user.name, groups=ANONYMOUS.groups)
    return User(name=user.name, groups=(*user.groups, "system:authenticated"), uid=user.uid, extra=user.extra)


def _needed(name: str, groups: tuple[str, ...], uid: str, extra: Mapping[str, list[str]]) -> Iterator[Attributes]:
    """The rights to act as this user."""
    if name.startswith("system:serviceaccount:"):
        namespace, _, account = name.removeprefix("system:serviceaccount:").partition(":")
        yield Attributes(
            verb="impersonate", version="v1", resource="serviceaccounts", namespace=namespace, name=account
        )
    else:
        yield Attributes(verb="impersonate", version="v1", resource="users", name=name)
    for group in groups:
        yield Attributes(verb="impersonate", version="v1", resource="groups", name=group)
    group = "authentication.k8s.io"
    if uid:
        yield Attributes(verb="impersonate", group=group, version="v1", resource="uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield Attributes(
                verb="impersonate", group=group, version="v1", resource="userextras", subresource=key, name=value
            )
