"""Built-in kinds: what a real server refuses beyond unknown fields and wrong types, as tables by kind.

In: an object, and on updates the old one. Out: `Cause`s. `RULES` has a function a kind; metadata is judged for every kind.
Kinds without a row are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devcluster.api.selectors import selector_matches
from devcluster.schema import formats, pods
from devcluster.schema.causes import Cause, forbidden, invalid, required, too_long, unsupported
from devcluster.schema.table import Row, apply, at_least, between, keys, needed, one_of, port, text, unique

Object = Mapping[str, Any]
Rule = Callable[[Object, Object | None], Iterator[Cause]]

METADATA = (
    Row("labels", keys(formats.qualified_name)),
    Row("labels{}", text(formats.label_value)),
    Row("annotations", keys(lambda key: formats.qualified_name(key.lower()))),
    Row("finalizers[]", text(formats.qualified_name)),
    Row("ownerReferences[].apiVersion", needed),
    Row("ownerReferences[].kind", needed),
    Row("ownerReferences[].name", needed),
    Row("ownerReferences[].uid", needed),
)
NAMES: Mapping[str, Callable[[str], str | None]] = {
    "Namespace": formats.dns_label,
    "Service": formats.dns_1035_label,
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), formats.path_segment),
}
"""How names are judged where it is not as a DNS subdomain."""


def metadata(obj: Object, kind: str) -> Iterator[Cause]:
    """Judge name, labels, annotations, finalizers and owners."""
    data = obj.get("metadata") or {}
    judge = NAMES.get(kind, formats.dns_subdomain)
    name, prefix = data.get("name"), data.get("generateName")
    if not name and not prefix:
        yield required("metadata.name", "name or generateName is required")
    elif name and (wrong := judge(name)):
        yield invalid("metadata.name", name, wrong)
    elif prefix and not name and (wrong := judge(f"{prefix[:50]}x")):
        yield invalid("metadata.generateName", prefix, wrong)
    yield from apply(METADATA, data, "metadata")
    if sum(len(k) + len(str(v)) for k, v in (data.get("annotations") or {}).items()) > 256 * 1024:
        yield too_long("metadata.annotations", 256 * 1024)


def _target(path: str, value: Any) -> Iterator[Cause]:
    if isinstance(value, int):
        yield from between(1, 65535)(path, value) if value else ()
    else:
        yield from text(formats.port_name)(path, value)


SERVICE = (
    Row("spec.type", one_of("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")),
    Row("spec.sessionAffinity", one_of("None", "ClientIP")),
    Row("spec.selector", keys(formats.qualified_name)),
    Row("spec.selector{}", text(formats.label_value)),
    Row("spec.ports", unique("name", show="name")),
    Row("spec.ports[].name", text(formats.dns_label)),
    Row("spec.ports[].port", needed, port),
    Row("spec.ports[].protocol", one_of("TCP", "UDP", "SCTP")),
    Row("spec.ports[].appProtocol", text(formats.qualified_name)),
    Row("spec.ports[].nodePort", between(0, 65535)),
    Row("spec.ports[].targetPort", _target),
)


def _service(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from apply(SERVICE, obj)
    spec = obj.get("spec") or {}
    ports = [{"protocol": "TCP", **one} for one in spec.get("ports") or []]
    if spec.get("type") == "ExternalName":
        yield from needed("spec.externalName", spec.get("externalName"))
    elif not ports and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if len(ports) > 1:
        for index, one in enumerate(ports):
            yield from needed(f"spec.ports[{index}].name", one.get("name"))
    yield from unique("port", "protocol")("spec.ports", ports)
    before = (old or {}).get("spec") or {}
    kept = before.get("clusterIP") and "ExternalName" not in {spec.get("type"), before.get("type")}
    if kept and spec.get("clusterIP") != before["clusterIP"]:
        yield invalid("spec.clusterIP", spec.get("clusterIP", ""), "field is immutable")


def _template(spec: Object, path: str, policies: tuple[str, ...]) -> Iterator[Cause]:
    template = spec.get("template") or {}
    yield from apply(METADATA[:3], template.get("metadata") or {}, f"{path}.template.metadata")
    inner = template.get("spec") or {}
    yield from pods.problems(inner, f"{path}.template.spec")
    policy = inner.get("restartPolicy", "Always")
    if policy not in policies:
        if len(policies) > 1 and "restartPolicy" not in inner:
            yield required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
        else:
            yield unsupported(f"{path}.template.spec.restartPolicy", policy, policies)


def _workload(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Deployments, ReplicaSets, StatefulSets and DaemonSets."""
    spec, kind = obj.get("spec") or {}, str(obj.get("kind", "")).lower()
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    elif not selector_matches(selector, labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from apply((Row("spec.replicas", at_least(0)), Row("spec.minReadySeconds", at_least(0))), obj)
    yield from _template(spec, "spec", ("Always",))
    if old is not None and kind != "statefulset" and selector != old["spec"].get("selector"):
        yield invalid("spec.selector", selector, "field is immutable")


def _deployment(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(obj, old)
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    yield from apply((Row("spec.strategy.type", one_of("Recreate", "RollingUpdate")),), obj)
    rolling = strategy.get("rollingUpdate")
    if rolling and strategy.get("type") == "Recreate":
        yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif rolling and rolling.get("maxSurge") in {0, "0%"} and rolling.get("maxUnavailable") in {0, "0%"}:
        where = "spec.strategy.rollingUpdate.maxUnavailable"
        yield invalid(where, rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")


_STATEFUL = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def _statefulset(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(obj, old)
    if old is not None and _but(obj["spec"], _STATEFUL) != _but(old["spec"], _STATEFUL):
        named = ", ".join(f"'{name}'" for name in _STATEFUL[:-1])
        why = f"updates to statefulset spec for fields other than {named} and '{_STATEFUL[-1]}' are forbidden"
        yield forbidden("spec", why)


def _but(spec: Object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


_ONCE = ("OnFailure", "Never")


def _job(obj: Object, old: Object | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    rows = [Row(f"spec.{name}", at_least(0)) for name in ("parallelism", "completions", "backoffLimit")]
    yield from apply(rows, obj)
    yield from _template(spec, "spec", _ONCE)
    if old is None:
        return
    for field in ("template", "selector", "completionMode"):
        if spec.get(field) != old["spec"].get(field) and not old["spec"].get("suspend"):
            yield invalid(f"spec.{field}", spec.get(field), "field is immutable")


def _cronjob(obj: Object, _: Object | None) -> Iterator[Cause]:
    yield from needed("spec.schedule", (obj.get("spec") or {}).get("schedule"))
    yield from apply((Row("spec.concurrencyPolicy", one_of("Allow", "Forbid", "Replace")),), obj)
    job = ((obj.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
    yield from _template(job, "spec.jobTemplate.spec", _ONCE)


def _pod(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from pods.problems(obj.get("spec") or {}, "spec")
    if old is not None:
        yield from pods.changed(obj, old)


def _data_key(key: str) -> str | None:
    if len(key) <= 253 and re.fullmatch(r"[-._a-zA-Z0-9]+", key) and key not in {".", ".."}:
        return None
    return (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
        "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )


DATA = (Row("data", keys(_data_key)), Row("binaryData", keys(_data_key)))


def _data(obj: Object, old: Object | None) -> Iterator[Cause]:
    """ConfigMaps and Secrets."""
    yield from apply(DATA, obj)
    if sum(len(str(v)) for f in ("data", "binaryData") for v in (obj.get(f) or {}).values()) > 1024 * 1024 * 4 // 3:
        yield too_long("data", 1024 * 1024)
    if old is None:
        return
    if obj.get("type") != old.get("type"):
        yield invalid("type", obj.get("type", ""), "field is immutable")
    if old.get("immutable"):
        for field in ("data", "binaryData"):
            if (obj.get(field) or {}) != (old.get(field) or {}):
                yield forbidden(field, "field is immutable when `immutable` is set")


def _binding(obj: Object, old: Object | None) -> Iterator[Cause]:
    rows = (
        Row("roleRef.kind", needed, one_of("Role", "ClusterRole")),
        Row("roleRef.name", needed),
        Row("subjects[].kind", needed, one_of("User", "Group", "ServiceAccount")),
        Row("subjects[].name", needed),
    )
    yield from apply(rows, {"roleRef": {}, **obj})
    for index, subject in enumerate(obj.get("subjects") or []):
        lost = subject.get("kind") == "ServiceAccount" and obj.get("kind") == "ClusterRoleBinding"
        if lost and not subject.get("namespace"):
            yield required(f"subjects[{index}].namespace")
    if old is not None and obj.get("roleRef") != old.get("roleRef"):
        yield invalid("roleRef", obj.get("roleRef"), "cannot change roleRef")


def _role(obj: Object, _: Object | None) -> Iterator[Cause]:
    for index, rule in enumerate(obj.get("rules") or []):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if obj.get("kind") == "Role":
                yield invalid(
                    f"{path}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "namespaced rules cannot apply to non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _budget(obj: Object, _: Object | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")


def _scaler(obj: Object, _: Object | None) -> Iterator[Cause]:
    yield from apply((Row("spec.maxReplicas", needed, at_least(1)), Row("spec.scaleTargetRef.name", needed)), obj)
    spec = obj.get("spec") or {}
    if spec.get("minReplicas", 1) > spec.get("maxReplicas", 1):
        yield invalid("spec.maxReplicas", spec.get("maxReplicas"), "must be greater than or equal to `minReplicas`")


def _slice(obj: Object, old: Object | None) -> Iterator[Cause]:
    rows = (
        Row("addressType", needed, one_of("IPv4", "IPv6", "FQDN")),
        Row("endpoints[].addresses", needed),
        Row("ports[].port", between(1, 65535)),
    )
    yield from apply(rows, obj)
    if old is not None and obj.get("addressType") != old.get("addressType"):
        yield invalid("addressType", obj.get("addressType"), "field is immutable")


RULES: Mapping[tuple[str, str], Rule] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "ConfigMap"): _data,
    ("", "Secret"): _data,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _workload,
    ("apps", "DaemonSet"): _workload,
    ("apps", "StatefulSet"): _statefulset,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cronjob,
    ("policy", "PodDisruptionBudget"): _budget,
    ("autoscaling", "HorizontalPodAutoscaler"): _scaler,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("rbac.authorization.k8s.io", "Role"): _role,
    ("rbac.authorization.k8s.io", "ClusterRole"): _role,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
}
