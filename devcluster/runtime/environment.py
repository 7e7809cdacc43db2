"""The environment of a container, as a real kubelet makes it up.

In: the pod, the container, its image, and the registry for ConfigMaps, Secrets and Services. Out: names and values. Refuses with
ConfigError, in the kubelet's words, what refers to something that is not there and not optional.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.runtime.images import Image
from devcluster.runtime.network import NODE_NAME

Object = dict[str, Any]
_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_SUFFIXES: Final[dict[str, Decimal | int]] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


class ConfigError(Exception):
    """A container cannot be configured; the message says what is missing."""


def environment(pod: Object, container: Object, image: Image, registry: Registry) -> dict[str, str]:
    """Make the environment up; raises ConfigError."""
    found = {"PATH": image.search_path, "HOSTNAME": hostname(pod), **image.env}
    found |= _service_variables(pod, registry)
    for source in container.get("envFrom") or []:
        found |= _from_source(source, pod, registry)
    own: dict[str, str] = {}
    for entry in container.get("env") or []:
        if "valueFrom" in entry:
            value = _from_reference(entry["valueFrom"], pod, container, registry)
            if value is None:
                continue
        else:
            value = expand(entry.get("value", ""), found | own)
        own[entry["name"]] = value
    return found | own


def hostname(pod: Object) -> str:
    """Give the name a pod's containers see as their machine's."""
    name: str = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return NODE_NAME if pod["spec"].get("hostNetwork") else name[:63].rstrip("-.")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays as it is, `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else values.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def field(pod: Object, path: str) -> str:
    """Give a field of a pod as `fieldRef` names it."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if found := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        table = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(table.items()))
    section = {"metadata": metadata, "spec": spec, "status": status}[path.partition(".")[0]]
    name = path.partition(".")[2]
    if name in {"podIPs", "hostIPs"}:
        return ",".join(item["ip"] for item in section.get(name) or [])
    return str(section.get(name, ""))


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def quantity(text: str | float) -> Decimal:
    """Read a Kubernetes quantity."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGT]?i?)", str(text))
    if found is None:
        raise ConfigError(f'quantity "{text}" is not a number with a suffix such as m, k, Mi or Gi')
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def resource(container: Object, reference: Object) -> str:
    """Give a resource as `resourceFieldRef` names it, in units of its divisor, rounded up."""
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    given = (resources.get(kind) or {}).get(name)
    if given is None and kind == "limits":
        given = {"cpu": os.cpu_count() or 1, "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}.get(
            name
        )
    divisor = quantity(reference.get("divisor") or 1) or Decimal(1)
    return str(math.ceil(quantity(given or 0) / divisor))


def referred(kind: str, reference: Object, namespace: str, registry: Registry) -> Object | None:
    """Read a ConfigMap or Secret; None when it is optional and not there; raises ConfigError."""
    try:
        return registry.get(f"{kind}s", namespace, reference["name"])
    except StatusError as absent:
        if reference.get("optional"):
            return None
        raise ConfigError(absent.message) from None


def contents(obj: Object) -> dict[str, bytes]:
    """Give the data of a ConfigMap or Secret."""
    encoded = obj.get("data") if obj["kind"] == "Secret" else obj.get("binaryData")
    found = {key: base64.b64decode(value) for key, value in (encoded or {}).items()}
    if obj["kind"] == "ConfigMap":
        found |= {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return found


def texts(obj: Object) -> dict[str, str]:
    """Give the data of a ConfigMap or Secret as text."""
    return {key: value.decode(errors="replace") for key, value in contents(obj).items()}


def _from_source(source: Object, pod: Object, registry: Registry) -> dict[str, str]:
    kind = "configmap" if "configMapRef" in source else "secret"
    reference = source.get("configMapRef") or source["secretRef"]
    obj = referred(kind, reference, pod["metadata"]["namespace"], registry)
    return {} if obj is None else {source.get("prefix", "") + key: value for key, value in texts(obj).items()}


def _from_reference(source: Object, pod: Object, container: Object, registry: Registry) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        wanted = source["resourceFieldRef"]
        name = wanted.get("containerName")
        return resource(_named(pod, name) if name else container, wanted)
    kind = "configmap" if "configMapKeyRef" in source else "secret"
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    namespace = pod["metadata"]["namespace"]
    obj = referred(kind, reference, namespace, registry)
    found = {} if obj is None else texts(obj)
    if reference["key"] in found:
        return found[reference["key"]]
    if reference.get("optional"):
        return None
    what = {"configmap": "ConfigMap", "secret": "Secret"}[kind]
    raise ConfigError(f"couldn't find key {reference['key']} in {what} {namespace}/{reference['name']}")


def _named(pod: Object, name: str) -> Object:
    spec = pod["spec"]
    every: Iterable[Object] = [*spec["containers"], *(spec.get("initContainers") or [])]
    return next((c for c in every if c["name"] == name), {})


def _service_variables(pod: Object, registry: Registry) -> dict[str, str]:
    namespace = pod["metadata"]["namespace"]
    services = registry.list("services", namespace) if pod["spec"].get("enableServiceLinks", True) else []
    api = [s for s in registry.list("services", "default") if s["metadata"]["name"] == "kubernetes"]
    found: dict[str, str] = {}
    for service in [*services, *api]:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or []
        if not address or address == "None" or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_").replace(".", "_")
        found[f"{name}_SERVICE_HOST"] = address
        found[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        found[f"{name}_PORT"] = f"{ports[0].get('protocol', 'TCP').lower()}://{address}:{ports[0]['port']}"
        for port in ports:
            protocol = port.get("protocol", "TCP")
            if port.get("name"):
                found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            link = f"{name}_PORT_{port['port']}_{protocol}"
            found[link] = f"{protocol.lower()}://{address}:{port['port']}"
            found |= {f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port["port"]), f"{link}_ADDR": address}
    return found
