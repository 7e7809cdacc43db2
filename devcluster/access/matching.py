"""Which webhooks a request concerns.

In: a webhook, a request, the labels of its namespace and objects. Out: yes or no, or an error for its failure policy when a match condition
cannot be evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devcluster.api.errors import Object
from devcluster.api.kinds import Resource
from devcluster.api.selectors import selector_matches
from devcluster.api.users import User
from devcluster.schema.cel import CompileError, Environment, EvaluationError

Hook = Mapping[str, Any]
OWN_GROUP = "admissionregistration.k8s.io"
"""Webhooks are never asked about webhook configurations and policies, or nobody could repair them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """One request on its way through admission."""

    resource: Resource
    namespace: str
    name: str
    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    user: User
    subresource: str = ""
    dry_run: bool = False
    options: Object = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What webhooks and Pod Security want the client told; filled on the way."""


class ConditionError(Exception):
    """A match condition that failed; the webhook's failure policy decides."""


class Matcher:
    """Decides for one cluster; `labels_of` gives the labels of a namespace."""

    def __init__(self, labels_of: Callable[[str], Mapping[str, str]]) -> None:
        self._labels_of = labels_of
        self._conditions = Environment("object", "oldObject", "request", "authorizer")

    def concerns(self, hook: Hook, request: AdmissionRequest, obj: Object | None, old: Object | None) -> bool:
        """Say whether the webhook is to be called; raises ConditionError."""
        if request.resource.group == OWN_GROUP:
            return False
        if not any(_rule(rule, request) for rule in hook.get("rules") or []):
            return False
        if not self._namespace(hook.get("namespaceSelector") or {}, request, obj or old):
            return False
        selector = hook.get("objectSelector") or {}
        if not any(selector_matches(selector, _labels(one)) for one in (obj, old) if one is not None):
            return False
        return self._conditions_hold(hook.get("matchConditions") or [], request, obj, old)

    def _namespace(self, selector: Object, request: AdmissionRequest, obj: Object | None) -> bool:
        if not selector:
            return True
        if request.resource.key == ("", "namespaces"):
            return selector_matches(selector, _labels(obj or {}))
        return not request.resource.namespaced or selector_matches(selector, self._labels_of(request.namespace))

    def _conditions_hold(
        self, conditions: list[Mapping[str, str]], request: AdmissionRequest, obj: Object | None, old: Object | None
    ) -> bool:
        data = {"object": obj, "oldObject": old, "request": describe(request), "authorizer": None}
        failed = ""
        for condition in conditions:
            try:
                if self._conditions.evaluate(condition["expression"], data) is not True:
                    return False
            except (EvaluationError, CompileError) as error:
                failed = failed or f"{condition.get('name')}: {error}"
        if failed:
            raise ConditionError(failed)
        return True


def describe(request: AdmissionRequest) -> Object:
    """The request as AdmissionReview and match conditions show it, without objects and uid."""
    row = request.resource
    kind = {"group": row.group, "version": row.version, "kind": row.kind}
    resource = {"group": row.group, "version": row.version, "resource": row.plural}
    about: Object = {
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "operation": request.operation,
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options or None,
    }
    if request.subresource:
        about |= {"subResource": request.subresource, "requestSubResource": request.subresource}
    if request.name:
        about["name"] = request.name
    if request.namespace:
        about["namespace"] = request.namespace
    return about


def _labels(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def _rule(rule: Mapping[str, Any], request: AdmissionRequest) -> bool:
    row = request.resource
    scope = rule.get("scope") or "*"
    # A Namespace is of cluster scope though it is asked about within itself.
    fits = scope == "*" or (scope == "Namespaced") == row.namespaced
    versions = {"*", row.version, *row.versions}
    return (
        fits
        and bool({"*", request.operation} & set(rule.get("operations") or ()))
        and bool({"*", row.group} & set(rule.get("apiGroups") or ()))
        and bool(versions & set(rule.get("apiVersions") or ()))
        and any(_resource(pattern, row.plural, request.subresource) for pattern in rule.get("resources") or ())
    )


def _resource(pattern: str, plural: str, subresource: str) -> bool:
    resource, slash, inner = pattern.partition("/")
    if resource not in {"*", plural}:
        return False
    return inner in {"*", subresource} if slash else not subresource
