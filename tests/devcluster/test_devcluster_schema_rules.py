"""Rules of the smaller built-in kinds, and the text forms Kubernetes gives a meaning."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from devcluster.schema import formats
from devcluster.schema.cel import Environment
from devcluster.schema.hooks import CONDITION_VARIABLES, problems
from devcluster.schema.rules import RULES
from tests.support.objects import container

RBAC = "rbac.authorization.k8s.io"
TEMPLATE = {"spec": {"containers": [container()], "restartPolicy": "Never"}}


def said(group: str, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    return [str(cause) for cause in RULES[group, obj["kind"]](obj, old)]


@pytest.mark.parametrize(
    ("group", "obj", "old", "expected"),
    [
        ("", {"kind": "ConfigMap", "data": {"a b": "c"}}, None, 'data: Invalid value: "a b": a valid config key'),
        ("", {"kind": "Secret", "type": "a"}, {"type": "b"}, 'type: Invalid value: "a": field is immutable'),
        (
            "",
            {"kind": "ConfigMap", "immutable": True, "data": {"a": "1"}},
            {"immutable": True, "data": {}},
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            "batch",
            {"kind": "Job", "spec": {"template": {"spec": {"containers": [container()]}}}},
            None,
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            "batch",
            {"kind": "Job", "spec": {"template": TEMPLATE}},
            {"spec": {"template": {}}},
            "spec.template: Invalid value",
        ),
        ("batch", {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}}, None, "spec.schedule: Required value"),
        ("policy", {"kind": "PodDisruptionBudget", "spec": {"minAvailable": 1, "maxUnavailable": 1}}, None, "cannot be both set"),
        ("autoscaling", {"kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"name": "x"}}}, None, "greater than or equal to `minReplicas`"),
        ("discovery.k8s.io", {"kind": "EndpointSlice", "addressType": "IPv4"}, {"addressType": "IPv6"}, "addressType: Invalid value"),
        (RBAC, {"kind": "Role", "rules": [{"verbs": [], "apiGroups": [""], "resources": ["pods"]}]}, None, "rules[0].verbs: Required value"),
        (RBAC, {"kind": "RoleBinding", "subjects": []}, None, "roleRef.name: Required value"),
        (RBAC, {"kind": "RoleBinding", "roleRef": {"kind": "Role", "name": "a"}}, {"roleRef": {"kind": "Role", "name": "b"}}, "cannot change roleRef"),
        ("", {"kind": "Service", "spec": {"type": "ExternalName"}}, None, "spec.externalName: Required value"),
    ],
)  # fmt: skip
def test_rule_of_a_kind_says_its_field(
    group: str, obj: dict[str, Any], old: dict[str, Any] | None, expected: str
) -> None:
    """One sentence a broken rule."""
    assert any(expected in one for one in said(group, obj, old)), said(group, obj, old)


def test_headless_service_needs_no_ports() -> None:
    """A Service without cluster IP may be a name alone."""
    assert said("", {"kind": "Service", "spec": {"clusterIP": "None"}}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"name": "short"}, "at least three segments"),
        ({"sideEffects": "Some"}, 'Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
        ({"admissionReviewVersions": ["v2"]}, "must include at least one of v1"),
        ({"clientConfig": {}}, "webhooks[0].clientConfig"),
        ({"clientConfig": {"url": "http://a"}}, "'https' is the only allowed URL scheme"),
        ({"timeoutSeconds": 31}, "must be between 1 and 30"),
        ({"matchConditions": [{"name": "c", "expression": "object."}]}, "matchConditions[0].expression"),
    ],
)
def test_webhook_configuration_is_judged(change: dict[str, Any], expected: str) -> None:
    """What would fail in the middle of a request is refused when it is written."""
    hook = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://a"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}],
    }
    found = [str(c) for c in problems({"webhooks": [hook | change]}, Environment(*CONDITION_VARIABLES))]

    assert found == [] if not expected else any(expected in one for one in found), found


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("100m", Decimal("0.1")), ("1Gi", 1024**3), ("1.5k", 1500), ("2e3", 2000), ("1E", 10**18), ("x", None), ("1 Gi", None)],
)  # fmt: skip
def test_quantity_has_a_value(text: str, value: Any) -> None:
    """Suffixes of both kinds and exponents."""
    assert formats.quantity(text) == value


def test_formats_tell_right_from_wrong() -> None:
    """The string formats of OpenAPI that the server checks."""
    right = {
        "date-time": "2026-01-02T03:04:05Z",
        "ipv4": "1.2.3.4",
        "ipv6": "::1",
        "cidr": "10.0.0.0/8",
        "byte": "YQ==",
        "duration": "1h30m",
    }
    wrong = {
        "date-time": "2026-01-02",
        "ipv4": "1.2.3",
        "ipv6": "1.2.3.4",
        "cidr": "10.0.0.0",
        "byte": "?",
        "duration": "1 h",
    }

    assert all(formats.FORMATS[name](value) for name, value in right.items())
    assert not any(formats.FORMATS[name](value) for name, value in wrong.items())
    assert formats.duration("1m30s") == 90
