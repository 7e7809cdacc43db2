"""How lists and maps merge: which are one value, which are sets, which are keyed by a field of their items.

In: a field's place in an object, and for custom kinds the structural schema. Out: `Shape`, walked field by field by strategic merge patch
and server-side apply. Built-in kinds are a table by field name, told apart by the parent's name where a name means two things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devcluster.api.errors import Object
from devcluster.api.kinds import Resource

KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "containers/ports": ("containerPort", "protocol"),
    "initContainers/ports": ("containerPort", "protocol"),
    "ephemeralContainers/ports": ("containerPort", "protocol"),
    "spec/ports": ("port", "protocol"),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "schedulingGates": ("name",),
    "resourceClaims": ("name",),
    "claims": ("name",),
    "conditions": ("type",),
    "addresses": ("type",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
    "webhooks": ("name",),
    "matchConditions": ("name",),
    "variables": ("name",),
}
"""Lists whose items merge by these fields; strategic merge uses the first alone."""

SETS = frozenset({"finalizers", "podCIDRs"})
"""Lists of plain values that merge as sets."""

REPLACED = frozenset({"endpoints/addresses", "subsets/addresses", "subsets/notReadyAddresses"})
"""Lists that would be taken for keyed ones by their name, and are not."""

ATOMIC = frozenset(
    [
        *("selector", "labelSelector", "podSelector", "namespaceSelector", "objectSelector", "nodeSelector"),
        *("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"),
        *("roleRef", "targetRef", "involvedObject", "regarding", "claimRef"),
    ]
)
"""Maps owned as one value by server-side apply (strategic merge goes into them)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of one field."""

    name: str = ""
    schema: Object | None = None
    """The structural schema here, for custom kinds."""
    custom: bool = False
    parent: str = ""

    def field(self, name: str) -> Shape:
        """Go into a map."""
        if not self.custom or name == "metadata":
            return Shape(name, parent=self.name)
        schema = self.schema or {}
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        return Shape(name, properties.get(name, more if isinstance(more, dict) else None), custom=True)

    def item(self) -> Shape:
        """Go into a list's item."""
        if not self.custom:
            return self
        return Shape(self.name, (self.schema or {}).get("items"), custom=True)

    def keys(self) -> tuple[str, ...]:
        """Give the fields that name an item of this list; empty when it is not keyed."""
        if self.custom:
            schema = self.schema or {}
            return tuple(schema.get("x-kubernetes-list-map-keys") or ())
        place = f"{self.parent}/{self.name}"
        if place in REPLACED:
            return ()
        return KEYS.get(place) or KEYS.get(self.name, ())

    def is_set(self) -> bool:
        """Tell whether this is a list of plain values that merges as a set."""
        if self.custom:
            return (self.schema or {}).get("x-kubernetes-list-type") == "set"
        return self.name in SETS

    def is_atomic(self) -> bool:
        """Tell whether a map here is owned as one value."""
        if self.custom:
            return (self.schema or {}).get("x-kubernetes-map-type") == "atomic"
        return self.name in ATOMIC

    def defaults(self, key: str) -> Any:
        """Give the value a missing key field counts as."""
        if self.custom:
            items: Object = ((self.schema or {}).get("items") or {}).get("properties") or {}
            return (items.get(key) or {}).get("default")
        return "TCP" if key == "protocol" else None


def shape_of(resource: Resource, version: str = "") -> Shape:
    """Give the shape of a kind's objects."""
    if resource.definition is None:
        return Shape()
    for row in resource.definition["spec"]["versions"]:
        if row["name"] == (version or resource.version):
            return Shape("", (row.get("schema") or {}).get("openAPIV3Schema"), custom=True)
    return Shape("", None, custom=True)
