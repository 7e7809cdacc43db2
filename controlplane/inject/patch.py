"""One pod in, the injected pod out: pure, and the same for the webhook and for `tulle inject`.

In: the pod as the API server or a file has it, the operator's settings, what its namespace says, who owns it. Out: an `Injection`.
Refuses (RefusedPodError) annotations nobody can follow and containers of our names that are not ours. Injecting an injected pod builds
what is ours anew, from nothing an author wrote, and takes in what other webhooks added since: re-invocation is safe, nothing is there twice.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from controlplane.inject import conflicts, containers, probes
from controlplane.inject.annotations import PodOptions, read_options
from controlplane.inject.conflicts import OURS, all_containers
from controlplane.inject.optin import opted_in
from controlplane.inject.options import InjectSettings
from meshapi import names

Object = dict[str, Any]

_COUNTED = frozenset({"cpu", "memory", "ephemeral-storage"})
_MIRROR = "kubernetes.io/config.mirror"
"""A static pod's mirror: the kubelet runs the file, whatever the API says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What became of a pod."""

    pod: Object
    """The pod as it should be stored; the very one given when nothing is to change."""
    injected: bool = False
    skipped: str = ""
    """Why a pod that asked for a sidecar gets none."""
    warnings: tuple[str, ...] = ()


def inject(
    pod: Object,
    settings: InjectSettings,
    *,
    namespace: str = "",
    namespace_labels: Mapping[str, str] | None = None,
    workload: str = "",
) -> Injection:
    """Give a pod that is opted in its sidecar; raises RefusedPodError."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec")
    inside = namespace or metadata.get("namespace") or ""
    if inside in settings.excluded_namespaces or not isinstance(spec, dict):
        return Injection(pod=pod)
    own = metadata.get("annotations") or {}
    if not opted_in(metadata, namespace_labels or {}):
        return Injection(pod=pod)
    reason = _skip_reason(spec, own)
    if reason:
        after = copy.deepcopy(pod)
        _annotations(after)[names.SKIPPED] = reason
        return Injection(pod=after, skipped=reason)
    conflicts.refuse(spec, injected_before=names.STATUS in own)
    options = read_options(own, settings.proxy)
    if not settings.native_sidecar and names.DRAIN_SECONDS not in own:
        # Such a sidecar is told to end beside its app, and serves it for as long as the app may take.
        most = conflicts.grace(spec) - options.drain_seconds
        options = replace(options, end_seconds=max(options.end_seconds, most))
    after = copy.deepcopy(pod)
    table = _rewrite_probes(after["spec"])
    proxy = containers.proxy_container(options, settings, workload, table)
    _place(after["spec"], options, settings, proxy)
    _mark(after, settings)
    return Injection(pod=after, injected=True, warnings=conflicts.warnings(spec, after["spec"]))


def _skip_reason(spec: Object, own: Mapping[str, str]) -> str:
    if spec.get("hostNetwork"):
        return "the pod uses hostNetwork; capturing its traffic would capture the node's"
    if (spec.get("os") or {}).get("name") == "windows":
        return "the pod runs on Windows; the sidecar runs on Linux only"
    if _MIRROR in own:
        return "the pod is a static pod's mirror; the kubelet would not see the sidecar"
    return ""


def _rewrite_probes(spec: Object) -> probes.Table:
    """Point the app's probes at the sidecar; probes rewritten by an earlier injection keep what they ask."""
    table = _earlier_probes(spec)
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [_rewritten(container, table) for container in spec[field]]
    spec["containers"] = [
        container if container.get("name") in OURS else probes.hold_the_end(container)
        for container in spec.get("containers") or ()
    ]
    return table


def _rewritten(container: Object, table: probes.Table) -> Object:
    if container.get("name") in OURS:
        return container
    changed, found = probes.rewrite(container)
    table.update(found)
    return changed


def _earlier_probes(spec: Object) -> probes.Table:
    """Read the table an earlier injection left on the sidecar, without containers that are gone."""
    apps = {c.get("name") for c in all_containers(spec)}
    for container in all_containers(spec):
        for entry in container.get("env") or () if container.get("name") == names.PROXY_CONTAINER else ():
            if entry.get("name") == names.ENV_APP_PROBES:
                return {path: asked for path, asked in _table(entry.get("value")).items() if _app_of(path) in apps}
    return {}


def _table(text: object) -> probes.Table:
    """Read a table as somebody else may have written it; one nobody can read is empty."""
    try:
        found = json.loads(str(text))
    except ValueError:
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def _app_of(path: str) -> str:
    return path.removeprefix(probes.PREFIX).partition("/")[0]


def _place(spec: Object, options: PodOptions, settings: InjectSettings, proxy: Object) -> None:
    """Put our containers and volumes where they belong, in place of those of an earlier injection."""
    earlier = {c["name"]: c for c in all_containers(spec) if c.get("name") in OURS}
    init = _counted(containers.init_container(options, settings), earlier)
    proxy = _counted(proxy, earlier)
    apps = [c for c in spec.get("containers") or () if c.get("name") not in OURS]
    inits = [c for c in spec.get("initContainers") or () if c.get("name") not in OURS]
    if settings.native_sidecar:
        # Before the app's own init containers, which then have a network: the sidecar is up when they run.
        spec["initContainers"] = [init, proxy, *inits]
        spec["containers"] = apps
    else:
        # After the app's init containers, which then have the plain network: no sidecar runs beside them.
        spec["initContainers"] = [*inits, init]
        spec["containers"] = [proxy, *apps]
    kept = [v for v in spec.get("volumes") or () if v.get("name") not in containers.VOLUMES]
    spec["volumes"] = [*kept, *containers.volumes(settings)]
    secrets = list(spec.get("imagePullSecrets") or ())
    secrets += [{"name": name} for name in settings.image_pull_secrets if {"name": name} not in secrets]
    if secrets:
        spec["imagePullSecrets"] = secrets


def _counted(ours: Object, earlier: Mapping[str, Object]) -> Object:
    """Keep the quantities of an earlier call that we leave open: a LimitRange's defaults, which that or a quota asks for when it judges the pod.

    They are numbers of what may be used; nothing else of an earlier container is looked at.
    """
    given = (earlier.get(ours["name"]) or {}).get("resources") or {}
    kept = {
        kind: {name: value for name, value in (given.get(kind) or {}).items() if name in _COUNTED}
        | ours["resources"].get(kind, {})
        for kind in ("requests", "limits")
    }
    return ours | {"resources": {kind: each for kind, each in kept.items() if each}}


def _mark(pod: Object, settings: InjectSettings) -> None:
    """Leave on the pod what was done and that its endpoints speak mesh TLS."""
    metadata = pod.setdefault("metadata", {})
    metadata["labels"] = (metadata.get("labels") or {}) | {names.MESH_LABEL: names.ENABLED}
    where = {
        "initContainers": [c["name"] for c in pod["spec"]["initContainers"] if c.get("name") in OURS],
        "containers": [c["name"] for c in pod["spec"]["containers"] if c.get("name") in OURS],
        "volumes": list(containers.VOLUMES),
    }
    own = _annotations(pod)
    own[names.STATUS] = json.dumps({"version": settings.version, **where}, separators=(",", ":"))
    own.pop(names.SKIPPED, None)


def _annotations(pod: Object) -> dict[str, str]:
    metadata = pod.setdefault("metadata", {})
    if not isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {}
    own: dict[str, str] = metadata["annotations"]
    return own
