"""What a pod has that does not go with a sidecar: refused where it cannot work, warned of where it works less well than its owner thinks.

In: a pod's spec before and after injection. Out: sentences. Refuses (RefusedPodError) containers of our names that are not ours, and app ports that are
the sidecar's own, for both live in one network namespace.
"""

from __future__ import annotations

import json
from typing import Any

from controlplane.inject.probes import prestop
from controlplane.inject.refusal import RefusedPodError
from meshapi import names

Object = dict[str, Any]

OURS = (names.INIT_CONTAINER, names.PROXY_CONTAINER)
_PORTS = {
    names.OUTBOUND_PORT: "takes the pod's outgoing connections",
    names.INBOUND_PORT: "takes its incoming ones",
    names.PROXY_ADMIN_PORT: "answers probes and scrapes",
}
_DEFAULT_GRACE = 30
"""Kubernetes' own."""
_LEAST_FOR_THE_APP = 2
_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the API server mounts a token into every container, ours too; they have their own and do without."""


def refuse(spec: Object, *, injected_before: bool) -> None:
    """Refuse what cannot work; raises RefusedPodError."""
    for container in all_containers(spec):
        name = container.get("name")
        if name in OURS:
            # A copy of an injected pod has lost its annotations; what runs our program is built anew like any other.
            if not injected_before and container.get("command") != [name]:
                raise RefusedPodError(
                    f"the pod has a container named {name}, which this mesh did not put there: give it another name, or opt the pod out "
                    f"by the annotation {names.INJECT}: {names.DISABLED}"
                )
            continue
        for entry in container.get("ports") or ():
            port = entry.get("containerPort")
            if port in _PORTS and entry.get("protocol", "TCP") == "TCP":
                raise RefusedPodError(
                    f"container {name} has port {port}, where the pod's sidecar {_PORTS[port]}: give the app another port"
                )


def warnings(before: Object, after: Object) -> tuple[str, ...]:
    """Say what the pod does that the mesh cannot see or do as its owner may think."""
    return (*_replaced(before, after), *_uncaptured(after), *_hurried(after))


def _replaced(before: Object, after: Object) -> tuple[str, ...]:
    """Say what stood in a container of our name and is not in the one we built instead."""
    built = {c["name"]: c for c in all_containers(after) if c.get("name") in OURS}
    said = []
    for found in all_containers(before):
        if found.get("name") not in built:
            continue
        lost = sorted(_content(found) - _content(built[found["name"]]))
        if lost:
            said.append(f"container {found['name']} is built by the mesh alone; taken out of it: {', '.join(lost)}")
    return tuple(said)


def _content(container: Object) -> set[str]:
    """What a container runs and reads, in words."""
    words = {f"env {entry.get('name')}" for entry in container.get("env") or ()}
    words |= {f"mount {entry.get('mountPath')}" for entry in container.get("volumeMounts") or ()} - {
        f"mount {_ACCOUNT_DIR}"
    }
    words |= {f"envFrom {json.dumps(entry, sort_keys=True)}" for entry in container.get("envFrom") or ()}
    return words | {f"{field} {container[field]}" for field in ("image", "command") if container.get(field)}


def _uncaptured(spec: Object) -> list[str]:
    general = (spec.get("securityContext") or {}).get("runAsUser")
    return [
        f"container {c.get('name')} runs as user {names.PROXY_UID}, the sidecar's own, so its outbound traffic is not captured"
        for c in all_containers(spec)
        if c.get("name") not in OURS and (c.get("securityContext") or {}).get("runAsUser", general) == names.PROXY_UID
    ]


def grace(spec: Object) -> int:
    """Tell how many seconds a pod has for its end."""
    given = spec.get("terminationGracePeriodSeconds")
    return _DEFAULT_GRACE if given is None else int(given)


def _hurried(spec: Object) -> list[str]:
    """Warn of a grace period that may be over before the app is told to end."""
    waits, given = _seconds_before_the_app(spec), grace(spec)
    if not waits or given >= waits + _LEAST_FOR_THE_APP:
        return []
    problem = f"terminationGracePeriodSeconds is {given}, but the pod's end may wait {waits} s for callers to move on"
    return [
        f"{problem}, so the app may be killed before it has ended by itself; right would be {waits} and what the app needs"
    ]


def _seconds_before_the_app(spec: Object) -> int:
    """How long our hooks may hold up the end: the sidecar's own beside its app, and the one before each app's."""
    waits = 0
    for container in all_containers(spec):
        hook = (container.get("lifecycle") or {}).get("preStop") or {}
        if container.get("name") == names.PROXY_CONTAINER and hook.get("exec"):
            waits = max(waits, int(hook["exec"]["command"][-1]))
        elif container.get("name") not in OURS and hook == prestop():
            waits = max(waits, names.PRESTOP_SECONDS)
    return waits


def all_containers(spec: Object) -> list[Object]:
    """Every container of a pod, those of its start first."""
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
