"""The columns `kubectl get` prints, a kind a line, as the real server has them; for custom kinds those their definition names.

In: an object. Out: cells. Wide columns have priority 1 and are marked `+` in the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devcluster.api import cells, podcells
from devcluster.api.errors import Object
from devcluster.api.jsonpath import find
from devcluster.api.kinds import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    path: str = ""
    """For custom kinds: where the value is."""


Cells = Callable[[Object], list[Any]]

_BUILT_IN: dict[str, tuple[str, Cells]] = {
    "pods": ("Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates", podcells.pod),
    "services": ("Type|Cluster-IP|External-IP|Port(s)|Age|+Selector", cells.service),
    "endpoints": ("Endpoints|Age", cells.endpoints),
    "namespaces": ("Status|Age", cells.namespace),
    "nodes": (
        "Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime",
        cells.node,
    ),
    "configmaps": ("Data|Age", cells.config_map),
    "secrets": ("Type|Data|Age", cells.secret),
    "serviceaccounts": ("Secrets|Age", cells.service_account),
    "events": ("Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name", cells.event),
    "deployments.apps": ("Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector", cells.deployment),
    "replicasets.apps": ("Desired|Current|Ready|Age|+Containers|+Images|+Selector", cells.replica_set),
    "statefulsets.apps": ("Ready|Age|+Containers|+Images", cells.stateful_set),
    "daemonsets.apps": (
        "Desired|Current|Ready|Up-to-date|Available|Node Selector|Age|+Containers|+Images|+Selector",
        cells.daemon_set,
    ),
    "controllerrevisions.apps": ("Controller|Revision|Age", cells.revision),
    "jobs.batch": ("Status|Completions|Duration|Age|+Containers|+Images|+Selector", cells.job),
    "cronjobs.batch": (
        "Schedule|Timezone|Suspend|Active|Last Schedule|Age|+Containers|+Images|+Selector",
        cells.cron_job,
    ),
    "endpointslices.discovery.k8s.io": ("AddressType|Ports|Endpoints|Age", cells.endpoint_slice),
    "leases.coordination.k8s.io": ("Holder|Age", cells.lease),
    "customresourcedefinitions.apiextensions.k8s.io": ("Created At", cells.definition),
    "poddisruptionbudgets.policy": (
        "Min Available|Max Unavailable|Allowed Disruptions|Age",
        cells.disruption_budget,
    ),
    "horizontalpodautoscalers.autoscaling": (
        "Reference|Targets|MinPods|MaxPods|Replicas|Age",
        cells.autoscaler,
    ),
    "networkpolicies.networking.k8s.io": ("Pod-Selector|Age", cells.network_policy),
    "ingresses.networking.k8s.io": ("Class|Hosts|Address|Ports|Age", cells.ingress),
    "roles.rbac.authorization.k8s.io": ("Created At", cells.definition),
    "clusterroles.rbac.authorization.k8s.io": ("Created At", cells.definition),
    "rolebindings.rbac.authorization.k8s.io": ("Role|Age|+Users|+Groups|+ServiceAccounts", cells.role_binding),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        "Role|Age|+Users|+Groups|+ServiceAccounts",
        cells.role_binding,
    ),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ("Webhooks|Age", cells.webhooks),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": ("Webhooks|Age", cells.webhooks),
    "priorityclasses.scheduling.k8s.io": ("Value|Global-Default|Age", cells.priority_class),
}
_NAMELESS = frozenset({"events"})
_AGE = Column(name="Age", type="date", path=".metadata.creationTimestamp")


def columns_of(row: Resource, version: str) -> list[Column]:
    """Give the columns of a kind."""
    name = Column(name="Name")
    if row.definition is not None:
        return [name, *_custom(row, version)]
    text, _ = _BUILT_IN.get(row.name, ("Age", cells.age_only))
    more = [Column(name=part.lstrip("+"), priority=int(part.startswith("+"))) for part in text.split("|")]
    return more if row.name in _NAMELESS else [name, *more]


def cells_of(row: Resource, version: str, obj: Object) -> list[Any]:
    """Give the cells of an object."""
    name = obj["metadata"]["name"]
    if row.definition is not None:
        return [name, *(_cell(column, obj) for column in _custom(row, version))]
    _, make = _BUILT_IN.get(row.name, ("Age", cells.age_only))
    return make(obj) if row.name in _NAMELESS else [name, *make(obj)]


def _custom(row: Resource, version: str) -> list[Column]:
    versions = row.definition["spec"]["versions"] if row.definition else []
    given = next((v.get("additionalPrinterColumns") for v in versions if v["name"] == version), None)
    if not given:
        return [_AGE]
    return [
        Column(
            name=column["name"],
            type=column.get("type", "string"),
            description=column.get("description", ""),
            priority=column.get("priority", 0),
            path=column["jsonPath"],
        )
        for column in given
    ]


def _cell(column: Column, obj: Object) -> Any:
    found = find(obj, column.path)
    if not found or found[0] is None:
        return None
    value = found[0]
    match column.type:
        case "date":
            return cells.age(value) if isinstance(value, str) else "<unknown>"
        case "integer" | "number" | "boolean":
            return value
        case _:
            return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(inner)}" for key, inner in sorted(value.items())) + "]"
    return str(value)
