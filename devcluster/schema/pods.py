"""Pods, and the pod templates of workloads: what a real server refuses beyond wrong types.

In: a pod spec and its path in the object (`spec`, `spec.template.spec`). Out: `Cause`s.
Only what users of small clusters meet; whatever is not here is taken as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.schema import formats
from devcluster.schema.causes import Cause, duplicate, forbidden, invalid, required
from devcluster.schema.table import Row, apply, at_least, between, needed, one_of, port, text, unique

CONTAINER = (
    Row("name", needed, text(formats.dns_label)),
    Row("image", needed),
    Row("imagePullPolicy", one_of("Always", "IfNotPresent", "Never")),
    Row("ports", unique("name", show="name")),
    Row("ports[].containerPort", needed, port),
    Row("ports[].hostPort", between(0, 65535)),
    Row("ports[].name", text(formats.port_name)),
    Row("ports[].protocol", one_of("TCP", "UDP", "SCTP")),
    Row("env[].name", needed, text(formats.env_name)),
    Row("envFrom[].configMapRef.name", needed),
    Row("envFrom[].secretRef.name", needed),
    Row("env[].valueFrom.configMapKeyRef.key", needed),
    Row("env[].valueFrom.secretKeyRef.key", needed),
    Row("env[].valueFrom.fieldRef.fieldPath", needed),
    Row("volumeMounts[].name", needed),
    Row("volumeMounts[].mountPath", needed),
    Row("securityContext.runAsUser", between(0, 2**31 - 1)),
    Row("securityContext.runAsGroup", between(0, 2**31 - 1)),
    Row("terminationMessagePolicy", one_of("File", "FallbackToLogsOnError")),
)
PROBE = (
    Row("initialDelaySeconds", at_least(0)),
    Row("timeoutSeconds", at_least(0)),
    Row("periodSeconds", at_least(0)),
    Row("successThreshold", at_least(0)),
    Row("failureThreshold", at_least(0)),
)
HANDLER = (
    Row("httpGet.port", needed),
    Row("httpGet.scheme", one_of("HTTP", "HTTPS")),
    Row("tcpSocket.port", needed),
    Row("grpc.port", needed, port),
    Row("exec.command", needed),
)
POD = (
    Row("containers", needed),
    Row("restartPolicy", one_of("Always", "OnFailure", "Never")),
    Row("dnsPolicy", one_of("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")),
    Row("terminationGracePeriodSeconds", at_least(0)),
    Row("activeDeadlineSeconds", at_least(1)),
    Row("serviceAccountName", text(formats.dns_subdomain)),
    Row("hostname", text(formats.dns_label)),
    Row("subdomain", text(formats.dns_label)),
    Row("volumes", unique("name", show="name")),
    Row("volumes[].name", needed, text(formats.dns_label)),
    Row("volumes[].configMap.name", needed),
    Row("volumes[].secret.secretName", needed),
    Row("volumes[].projected.sources[].serviceAccountToken.path", needed),
    Row("volumes[].projected.sources[].serviceAccountToken.expirationSeconds", at_least(600)),
    Row("imagePullSecrets[].name", needed),
)
MUTABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def problems(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Say what is wrong with a pod spec."""
    yield from apply(POD, spec, path)
    seen: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for index, volume in enumerate(spec.get("volumes") or []):
        yield from _source(volume, f"{path}.volumes[{index}]")
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, one in enumerate(spec.get(field) or []):
            where, name = f"{path}.{field}[{index}]", one.get("name", "")
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
            yield from _container(one, where, volumes)
            yield from _init(one, where) if field == "initContainers" else _lifecycle(one, where)


def _source(volume: Mapping[str, Any], path: str) -> Iterator[Cause]:
    sources = [name for name, value in volume.items() if name != "name" and value is not None]
    if not sources:
        yield required(path, "must specify a volume type")
    for name in sources[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 volume type")


def _container(one: Mapping[str, Any], path: str, volumes: set[Any]) -> Iterator[Cause]:
    yield from apply(CONTAINER, one, path)
    for index, entry in enumerate(one.get("env") or []):
        if entry.get("value") and entry.get("valueFrom"):
            yield invalid(f"{path}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty")
    places = []
    for index, mount in enumerate(one.get("volumeMounts") or []):
        name, place = mount.get("name"), mount.get("mountPath")
        if name and name not in volumes:
            yield Cause(f"{path}.volumeMounts[{index}].name", "FieldValueNotFound", f'Not found: "{name}"')
        if place in places:
            yield invalid(f"{path}.volumeMounts[{index}].mountPath", place, "must be unique")
        places.append(place)
    resources = one.get("resources") or {}
    limits = resources.get("limits") or {}
    for name, asked in (resources.get("requests") or {}).items():
        most, wanted = formats.quantity(limits.get(name)), formats.quantity(asked)
        if most is not None and wanted is not None and wanted > most:
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.resources.requests", str(asked), why)
    context = one.get("securityContext") or {}
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield invalid(f"{path}.securityContext", context, why)


def _init(one: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if one.get("restartPolicy") == "Always":
        yield from _lifecycle(one, path)
        return
    if one.get("restartPolicy"):
        yield from one_of("Always")(f"{path}.restartPolicy", one["restartPolicy"])
    for field in (*_PROBES, "lifecycle"):
        if one.get(field):
            yield forbidden(f"{path}.{field}", "may not be set for init containers without restartPolicy=Always")


def _lifecycle(one: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for field in _PROBES:
        probe, where = one.get(field), f"{path}.{field}"
        if probe is None:
            continue
        yield from apply(PROBE, probe, where)
        yield from _handler(probe, where, _HANDLERS)
        if field != "readinessProbe" and probe.get("successThreshold", 1) not in {0, 1}:
            yield invalid(f"{where}.successThreshold", probe["successThreshold"], "must be 1")
    for field in ("postStart", "preStop"):
        hook = (one.get("lifecycle") or {}).get(field)
        if hook is not None:
            yield from _handler(hook, f"{path}.lifecycle.{field}", ("exec", "httpGet", "tcpSocket", "sleep"))


def _handler(value: Mapping[str, Any], path: str, kinds: tuple[str, ...]) -> Iterator[Cause]:
    given = [kind for kind in kinds if value.get(kind) is not None]
    if not given:
        yield required(path, "must specify a handler type")
    for kind in given[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
    yield from apply(HANDLER, value, path)


def changed(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    """Say what an update of a running pod may not do."""
    if _frozen(new.get("spec") or {}, old.get("spec") or {}) != _frozen(old.get("spec") or {}, old.get("spec") or {}):
        yield forbidden("spec", MUTABLE.partition("Forbidden: ")[2])


def _frozen(spec: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(dict(spec))
    for field in (
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
        "schedulingGates",
        "ephemeralContainers",
    ):
        kept.pop(field, None)
    if not old.get("nodeName"):
        # Binding to a node is the one thing the scheduler does to a pod.
        kept.pop("nodeName", None)
    for field in ("containers", "initContainers"):
        for one in kept.get(field) or []:
            one.pop("image", None)
            one.pop("resources", None)
    return kept
