"""May they: roles and bindings, read fresh at every question.

In: a user and what they want to do. Out: yes or no with a reason, the 403 in the server's words, and a user's rules. Granting is bounded: nobody
gives others a right they do not have, unless they may `escalate` or `bind`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from devcluster.api.errors import Object, StatusError
from devcluster.api.kinds import Resource
from devcluster.api.registry import Registry
from devcluster.api.selectors import selector_matches
from devcluster.api.users import User

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What somebody wants to do; either `resource` and what belongs to it, or `path`."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def what(self) -> str:
        """`pods`, or `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer:
    """Answers by the roles and bindings in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def allowed(self, user: User, attributes: Attributes) -> tuple[bool, str]:
        """Say whether, and by which binding."""
        if MASTERS in user.groups:
            return True, ""
        for rule, why in self._granted(user, attributes.namespace):
            if _permits(rule, attributes):
                return True, f"RBAC: allowed by {why}"
        return False, ""

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """All rules a user has in a namespace."""
        found = [rule for rule, _ in self._granted(user, namespace)]
        if MASTERS in user.groups:
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            found = [everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}, *found]
        return found

    def _granted(self, user: User, namespace: str) -> Iterator[tuple[Rule, str]]:
        for binding in self._registry.list(f"clusterrolebindings.{GROUP}"):
            yield from self._by(binding, user, "", "ClusterRoleBinding")
        if namespace:
            for binding in self._registry.list(f"rolebindings.{GROUP}", namespace):
                yield from self._by(binding, user, namespace, "RoleBinding")

    def _by(self, binding: Object, user: User, namespace: str, kind: str) -> Iterator[tuple[Rule, str]]:
        if not any(_is(subject, user, namespace) for subject in binding.get("subjects") or []):
            return
        reference, name = binding["roleRef"], binding["metadata"]["name"]
        shown = f"{name}/{namespace}" if namespace else name
        for rule in self._role_rules(reference, namespace):
            yield rule, f'{kind} "{shown}" of {reference["kind"]} "{reference["name"]}"'

    def _role_rules(self, reference: Mapping[str, Any], namespace: str) -> list[Rule]:
        plural = "clusterroles" if reference["kind"] == "ClusterRole" else "roles"
        try:
            role = self._registry.get(f"{plural}.{GROUP}", namespace, reference["name"])
        except StatusError:
            return []  # A binding may be made before its role.
        return self.expanded(role)

    def expanded(self, role: Object) -> list[Rule]:
        """The rules of a role, with those an aggregating one gathers by label."""
        selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        found = list(role.get("rules") or [])
        for other in self._registry.list(f"clusterroles.{GROUP}") if selectors else ():
            labels = other["metadata"].get("labels")
            if other is not role and any(selector_matches(selector, labels) for selector in selectors):
                found += other.get("rules") or []
        return found

    def check_escalation(self, user: User, resource: Resource, obj: Object) -> None:
        """Refuse a role or binding that grants what its maker does not have; other kinds pass."""
        if resource.group != GROUP or MASTERS in user.groups:
            return
        namespace = obj["metadata"].get("namespace", "") if resource.namespaced else ""
        name = obj["metadata"].get("name", "")
        if resource.kind in {"Role", "ClusterRole"}:
            verb, about, wanted = "escalate", (resource.plural, name), self.expanded(obj)
        else:
            reference = obj.get("roleRef") or {}
            plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
            verb, about, wanted = "bind", (plural, reference.get("name", "")), self._role_rules(reference, namespace)
        right = Attributes(verb=verb, group=GROUP, resource=about[0], namespace=namespace, name=about[1])
        if self.allowed(user, right)[0]:
            return
        held = self.rules(user, namespace)
        missing = [rule for rule in wanted if not all(_permits_any(held, one) for one in _single(rule, namespace))]
        if missing:
            listed = "\n".join(_shown(rule) for rule in missing)
            message = (
                f'{resource.name} "{name}" is forbidden: user "{user.name}" (groups={json.dumps(list(user.groups))}) '
                f"is attempting to grant RBAC permissions not currently held:\n{listed}"
            )
            details = {"name": name, "group": GROUP, "kind": resource.plural}
            raise StatusError(403, "Forbidden", message, details)


def forbidden(user: User, attributes: Attributes, reason: str = "") -> StatusError:
    """The 403 as the server says it."""
    tail = f": {reason}" if reason else ""
    if attributes.path:
        message = f'forbidden: User "{user.name}" cannot {attributes.verb} path "{attributes.path}"{tail}'
        return StatusError(403, "Forbidden", message, {})
    qualified = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    named = f'{qualified} "{attributes.name}"' if attributes.name else qualified
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{user.name}" cannot {attributes.verb} resource "{attributes.what}" '
        f'in API group "{attributes.group}" {where}{tail}'
    )
    details = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
    return StatusError(403, "Forbidden", message, {key: value for key, value in details.items() if value})


def _is(subject: Mapping[str, Any], user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case _:
            account = f"{subject.get('namespace') or namespace}:{subject['name']}"
            return user.name == f"system:serviceaccount:{account}"


def _permits(rule: Rule, attributes: Attributes) -> bool:
    if not {"*", attributes.verb} & set(rule.get("verbs") or ()):
        return False
    if attributes.path:
        return any(_url(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames") or ()
    return (
        bool({"*", attributes.group} & set(rule.get("apiGroups") or ()))
        and any(_resource(pattern, attributes) for pattern in rule.get("resources") or ())
        and (not names or attributes.name in names)
    )


def _permits_any(rules: Sequence[Rule], attributes: Attributes) -> bool:
    return any(_permits(rule, attributes) for rule in rules)


def _url(pattern: str, path: str) -> bool:
    return pattern in {"*", path} or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _resource(pattern: str, attributes: Attributes) -> bool:
    if pattern in {"*", attributes.what}:
        return True
    return bool(attributes.subresource) and pattern == f"*/{attributes.subresource}"


def _single(rule: Rule, namespace: str) -> Iterator[Attributes]:
    """Take a rule apart into single rights; a wildcard is a right of its own and only a wildcard covers it."""
    verbs = rule.get("verbs") or ()
    for verb, path in product(verbs, rule.get("nonResourceURLs") or ()):
        yield Attributes(verb=verb, path=path)
    names = rule.get("resourceNames") or [""]
    for verb, group, what, name in product(verbs, rule.get("apiGroups") or (), rule.get("resources") or (), names):
        resource, _, subresource = what.partition("/")
        yield Attributes(
            verb=verb, group=group, resource=resource, subresource=subresource, name=name, namespace=namespace
        )


def _shown(rule: Rule) -> str:
    fields = (
        ("APIGroups", "apiGroups"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    return "{" + ", ".join(f"{said}:{json.dumps(rule[key])}" for said, key in fields if rule.get(key)) + "}"
