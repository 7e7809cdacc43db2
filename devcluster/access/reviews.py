"""The review kinds: questions about access that clients create and get answered at once.

In: a review object and who asks. Out: the same object with its status. Nothing is stored.
"""

from __future__ import annotations

from typing import Any

from devcluster.access.rbac import Attributes, Authorizer
from devcluster.access.tokens import TokenIssuer
from devcluster.api.errors import Object, StatusError, bad_request
from devcluster.api.users import User


class Reviews:
    """Answers reviews by the same authorizer and issuer requests meet."""

    def __init__(self, authorizer: Authorizer, issuer: TokenIssuer) -> None:
        self._authorizer = authorizer
        self._issuer = issuer

    def answer(self, kind: str, obj: Object, user: User) -> Object:
        """Answer one review."""
        spec = obj.get("spec") or {}
        match kind:
            case "TokenReview":
                return self._issuer.review(obj)
            case "SelfSubjectReview":
                status: dict[str, Any] = {"userInfo": user.info()}
            case "SelfSubjectAccessReview":
                status = self._access(spec, user)
            case "SubjectAccessReview" | "LocalSubjectAccessReview":
                extra = spec.get("extra") or {}
                about = User(
                    name=spec.get("user", ""),
                    groups=tuple(spec.get("groups") or ()),
                    uid=spec.get("uid", ""),
                    extra=extra,
                )
                if not about.name and not about.groups:
                    raise bad_request("spec.user: Required value: at least one of user or group must be specified")
                status = self._access(spec, about)
            case "SelfSubjectRulesReview":
                status = self._rules(spec, user)
            case _:
                raise StatusError(404, "NotFound", f"the server has no review of kind {kind}")
        group = "authentication" if kind == "SelfSubjectReview" else "authorization"
        return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec, "status": status}

    def _access(self, spec: Object, user: User) -> Object:
        about, plain = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (about is None) == (plain is None):
            raise bad_request("exactly one of resourceAttributes and nonResourceAttributes must be set")
        if plain is not None:
            attributes = Attributes(verb=plain.get("verb", ""), path=plain.get("path", ""))
        else:
            names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
            attributes = Attributes(**{name: (about or {}).get(name, "") for name in names})
        ok, reason = self._authorizer.allowed(user, attributes)
        return {"allowed": ok} | ({"reason": reason} if reason else {})

    def _rules(self, spec: Object, user: User) -> Object:
        namespace = spec.get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        rules = self._authorizer.rules(user, namespace)
        kept = ("verbs", "apiGroups", "resources", "resourceNames")
        return {
            "resourceRules": [{k: r[k] for k in kept if k in r} for r in rules if r.get("resources")],
            "nonResourceRules": [
                {k: r[k] for k in ("verbs", "nonResourceURLs")} for r in rules if r.get("nonResourceURLs")
            ],
            "incomplete": False,
        }
