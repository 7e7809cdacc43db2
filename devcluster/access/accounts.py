"""The service account every pod runs as, and its token mounted where clients look for it.

In: a pod that is being created. Out: the same pod with account, pull secrets and the projected `kube-api-access-` volume. Refuses a pod whose account does not exist;
for the `default` account of a young namespace it waits a little, because a controller makes it. Runs again after webhooks, so containers they add get the token too.
"""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Iterator

from devcluster.api.errors import Object, StatusError, forbidden
from devcluster.api.registry import Registry
from devcluster.api.watch import WatchEvent

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
LIFE = 3607
"""Seconds of a mounted token: the odd number by which the real server marks its own."""
PATIENCE = 5.0
"""Seconds to wait for a namespace's default account."""


async def assign(registry: Registry, pod: Object) -> None:
    """Give a pod its account and its token, in place."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = await _account(registry, namespace, name)
    if account is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden("", "pods", pod["metadata"].get("name", ""), why)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
    wanted = spec.get("automountServiceAccountToken")
    if wanted if wanted is not None else account.get("automountServiceAccountToken", True):
        _mount(spec)


async def _account(registry: Registry, namespace: str, name: str) -> Object | None:
    try:
        return registry.get("serviceaccounts", namespace, name)
    except StatusError:
        if name != "default":
            return None
    made: asyncio.Future[Object] = asyncio.get_running_loop().create_future()

    def seen(event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if (metadata.get("namespace"), metadata["name"]) == (namespace, name) and not made.done():
            made.set_result(event.object)

    unsubscribe = registry.subscribe("serviceaccounts", seen)
    try:
        return await asyncio.wait_for(made, PATIENCE)
    except TimeoutError:
        return None
    finally:
        unsubscribe()


def _mount(spec: Object) -> None:
    lacking = [
        c for c in _containers(spec) if not any(m.get("mountPath") == MOUNT for m in c.get("volumeMounts") or [])
    ]
    if not lacking:
        return
    volumes = spec.setdefault("volumes", [])
    name = next((v["name"] for v in volumes if v.get("name", "").startswith("kube-api-access-")), "")
    if not name:
        name = f"kube-api-access-{''.join(random.choices(string.ascii_lowercase + string.digits, k=5))}"
        volumes.append({"name": name, "projected": _sources()})
    for container in lacking:
        container.setdefault("volumeMounts", []).append({"name": name, "readOnly": True, "mountPath": MOUNT})


def _containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers"):
        yield from spec.get(field) or []


def _sources() -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": LIFE, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
    }
