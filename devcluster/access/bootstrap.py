"""The roles and bindings a new cluster has, as far as clients rely on them.

In: nothing. Out: objects for the registry to create at start: discovery for everybody, self reviews, `cluster-admin`, and the user-facing
`admin`, `edit` and `view`, which gather further rules by label as on a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from devcluster.api.errors import Object

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_PLAIN = [
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "serviceaccounts",
    "services",
]
_GROUPS = {
    "apps": ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
_LABEL = "rbac.authorization.k8s.io/aggregate-to-"
_OPEN = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_OPEN]


def objects() -> list[Object]:
    """Everything, roles first."""
    reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
    everything = [_rule(["*"], ["*"], ["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}]
    roles = [
        _role("cluster-admin", everything),
        _role("system:discovery", [{"verbs": ["get"], "nonResourceURLs": _DISCOVERY}]),
        _role("system:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": _OPEN}]),
        _role(
            "system:basic-user",
            [
                _rule(["create"], ["authorization.k8s.io"], reviews),
                _rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
            ],
        ),
        _role(
            "system:auth-delegator",
            [
                _rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
                _rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
            ],
        ),
        _role("system:aggregate-to-view", _user_rules(_READ), label="view"),
        _role("system:aggregate-to-edit", [*_user_rules(_WRITE), *_editing()], label="edit"),
        _role("system:aggregate-to-admin", _administering(), label="admin"),
        *(_gathering(name, labels) for name, labels in (("view", ["view"]), ("edit", ["view", "edit"]))),
        _gathering("admin", ["view", "edit", "admin"]),
    ]
    bindings = [
        _binding("cluster-admin", "cluster-admin", ["system:masters"]),
        _binding("system:discovery", "system:discovery", ["system:authenticated"]),
        _binding("system:basic-user", "system:basic-user", ["system:authenticated"]),
        _binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            ["system:authenticated", "system:unauthenticated"],
        ),
    ]
    return [*roles, *bindings]


def _rule(verbs: list[str], groups: list[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": groups, "resources": list(resources)}


def _user_rules(verbs: list[str]) -> list[dict[str, Any]]:
    core = [
        *_PLAIN,
        *(["pods/log", "pods/status", "services/status", "events", "namespaces"] if verbs is _READ else []),
    ]
    return [_rule(verbs, [""], core), *(_rule(verbs, [group], names) for group, names in _GROUPS.items())]


def _editing() -> list[dict[str, Any]]:
    streams = ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"]
    return [
        _rule([*_READ, *_WRITE], [""], ["secrets"]),
        _rule(["get", "create"], [""], streams),
        _rule(["create"], [""], ["pods/eviction", "serviceaccounts/token"]),
        _rule(["impersonate"], [""], ["serviceaccounts"]),
        _rule(["patch", "update", "get"], ["apps"], ["deployments/scale", "replicasets/scale", "statefulsets/scale"]),
        _rule([*_READ, *_WRITE], ["coordination.k8s.io"], ["leases"]),
    ]


def _administering() -> list[dict[str, Any]]:
    return [
        _rule([*_READ, *_WRITE], ["rbac.authorization.k8s.io"], ["roles", "rolebindings"]),
        _rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
    ]


def _role(name: str, rules: list[dict[str, Any]], *, label: str = "") -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"} | ({f"{_LABEL}{label}": "true"} if label else {})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    }


def _gathering(name: str, labels: list[str]) -> Object:
    selectors = [{"matchLabels": {f"{_LABEL}{label}": "true"}} for label in labels]
    return _role(name, []) | {"aggregationRule": {"clusterRoleSelectors": selectors}}


def _binding(name: str, role: str, groups: list[str]) -> Object:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": group} for group in groups],
    }
