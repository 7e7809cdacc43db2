"""Roles and bindings: who may do what, who may grant it, and what reviews answer."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.access import bootstrap
from devcluster.access.rbac import GROUP, Attributes, Authorizer, forbidden
from devcluster.access.reviews import Reviews
from devcluster.access.tokens import TokenIssuer
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.users import ANONYMOUS, User

JANE = User(name="jane", groups=("dev", "system:authenticated"))
WEB = User(name="system:serviceaccount:shop:web", groups=("system:serviceaccounts", "system:authenticated"))


async def cluster(*objects: dict[str, Any]) -> Registry:
    registry = Registry()
    await registry.create("namespaces", {"metadata": {"name": "shop"}})
    for one in [*bootstrap.objects(), *objects]:
        resource = registry.resources.by_kind(GROUP, one["kind"])
        assert resource
        await registry.create(resource, {"apiVersion": f"{GROUP}/v1", **one})
    return registry


def role(name: str, *rules: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    return {"kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


def binding(name: str, subject: dict[str, Any], kind: str = "Role", namespace: str = "shop") -> dict[str, Any]:
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
        "subjects": [subject],
    }


ACCOUNT = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
DEV = {"kind": "Group", "name": "dev"}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (Attributes(verb="get", resource="pods", namespace="shop", name="a"), True),
        (Attributes(verb="get", resource="pods", namespace="other", name="a"), False),
        (Attributes(verb="get", resource="pods", name="a"), False),
        (Attributes(verb="delete", resource="pods", namespace="shop", name="a"), False),
        (Attributes(verb="get", resource="pods", subresource="log", namespace="shop", name="a"), True),
        (Attributes(verb="create", resource="pods", subresource="exec", namespace="shop", name="a"), False),
        (Attributes(verb="update", group="apps", resource="deployments", namespace="shop", name="a"), False),
        (Attributes(verb="update", group="apps", resource="deployments", subresource="scale", namespace="shop"), True),
        (Attributes(verb="get", resource="secrets", namespace="shop", name="mine"), True),
        (Attributes(verb="get", resource="secrets", namespace="shop", name="yours"), False),
        (Attributes(verb="list", resource="secrets", namespace="shop"), False),
        (Attributes(verb="get", path="/openapi/v3"), True),
        (Attributes(verb="get", path="/metrics"), False),
    ],
)
async def test_rule_decides_by_verb_resource_name_and_place(attributes: Attributes, expected: bool) -> None:
    """Each part of a rule bounds it; subresources and names are rights of their own."""
    rules = [
        rule("get list", "pods pods/log"),
        rule("update", "*/scale", "apps"),
        rule("get", "secrets", resourceNames=["mine"]),
    ]
    authorizer = Authorizer(await cluster(role("r", *rules), binding("r", ACCOUNT)))

    assert authorizer.allowed(WEB, attributes)[0] is expected


async def test_cluster_role_reaches_as_far_as_its_binding() -> None:
    """Bound in a namespace it counts there, bound in the cluster everywhere."""
    authorizer = Authorizer(await cluster(binding("view", DEV, "ClusterRole")))
    pods = {"verb": "list", "resource": "pods"}

    assert authorizer.allowed(JANE, Attributes(**pods, namespace="shop"))[0]
    assert not authorizer.allowed(JANE, Attributes(**pods, namespace="other"))[0]
    assert not authorizer.allowed(JANE, Attributes(verb="list", resource="secrets", namespace="shop"))[0]
    everywhere = Authorizer(await cluster(binding("edit", DEV, "ClusterRole", namespace="")))
    assert everywhere.allowed(JANE, Attributes(**pods))[0]
    assert everywhere.allowed(JANE, Attributes(verb="create", group="apps", resource="deployments", namespace="x"))[0]


async def test_aggregated_role_gathers_by_label() -> None:
    """A role labelled for `view` adds to what viewers may see."""
    more = {
        "kind": "ClusterRole",
        "metadata": {"name": "routes", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [rule("get", "httproutes", "gateway.networking.k8s.io")],
    }
    authorizer = Authorizer(await cluster(more, binding("view", DEV, "ClusterRole")))
    routes = Attributes(verb="get", group="gateway.networking.k8s.io", resource="httproutes", namespace="shop")

    assert authorizer.allowed(JANE, routes)[0]


async def test_masters_may_everything_and_nobody_little() -> None:
    """The masters group needs no role; the anonymous see health alone."""
    authorizer = Authorizer(await cluster())

    assert authorizer.allowed(User(name="x", groups=("system:masters",)), Attributes(verb="any", resource="thing"))[0]
    assert authorizer.allowed(ANONYMOUS, Attributes(verb="get", path="/healthz"))[0]
    assert not authorizer.allowed(ANONYMOUS, Attributes(verb="get", path="/apis"))[0]


def test_refusal_is_said_as_the_server_says_it() -> None:
    """Who, what, which group and where."""
    named = Attributes(
        verb="get", group="apps", resource="deployments", subresource="scale", namespace="shop", name="w"
    )

    assert forbidden(JANE, named).message == (
        'deployments.apps "w" is forbidden: User "jane" cannot get resource "deployments/scale" '
        'in API group "apps" in the namespace "shop"'
    )
    assert forbidden(JANE, Attributes(verb="list", resource="nodes")).message.endswith("at the cluster scope")
    assert forbidden(JANE, Attributes(verb="get", path="/x")).message == 'forbidden: User "jane" cannot get path "/x"'


async def test_nobody_grants_what_they_do_not_have() -> None:
    """A role or binding beyond one's own rights is refused; `escalate` and `bind` lift that."""
    right = rule("create update", "roles rolebindings", GROUP)
    registry = await cluster(role("r", rule("get list", "pods"), right), binding("r", DEV), role("big", rule("*", "*")))
    authorizer = Authorizer(registry)
    roles = registry.resources.find(f"roles.{GROUP}")
    bindings = registry.resources.find(f"rolebindings.{GROUP}")
    authorizer.check_escalation(JANE, roles, role("mine", rule("get", "pods")))
    with pytest.raises(StatusError, match="attempting to grant RBAC permissions not currently held"):
        authorizer.check_escalation(JANE, roles, role("more", rule("get", "pods secrets")))
    with pytest.raises(StatusError, match=r'Verbs:\["\*"\]'):
        authorizer.check_escalation(JANE, bindings, binding("big", DEV))
    await registry.create(f"roles.{GROUP}", role("b", rule("bind", "roles", GROUP)))
    await registry.create(f"rolebindings.{GROUP}", binding("b", DEV))

    authorizer.check_escalation(JANE, bindings, binding("big", DEV))


async def test_reviews_answer_by_the_same_rules() -> None:
    """Access reviews for oneself and others, and the list behind `auth can-i --list`."""
    registry = await cluster(role("r", rule("get", "pods")), binding("r", ACCOUNT))
    reviews = Reviews(Authorizer(registry), TokenIssuer(registry))
    about = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "shop"}}
    mine = reviews.answer("SelfSubjectAccessReview", {"spec": about}, WEB)
    other = reviews.answer("SubjectAccessReview", {"spec": {**about, "user": "bob"}}, WEB)
    listed = reviews.answer("SelfSubjectRulesReview", {"spec": {"namespace": "shop"}}, WEB)

    assert mine["status"] == {"allowed": True, "reason": 'RBAC: allowed by RoleBinding "r/shop" of Role "r"'}
    assert other["status"] == {"allowed": False}
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in listed["status"]["resourceRules"]
    assert listed["status"]["nonResourceRules"]
    assert reviews.answer("SelfSubjectReview", {}, WEB)["status"]["userInfo"]["username"] == WEB.name
