"""What every namespace has from the start: the ServiceAccount `default` and the ConfigMap with the cluster's root certificate.

In: namespaces, and the certificate. Out: the two objects, made again when somebody takes them away.
"""

from __future__ import annotations

from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.controllers.objects import is_terminating
from devcluster.controllers.reconcile import Loop, controller, find

Object = dict[str, Any]
ROOT: Final = "kube-root-ca.crt"
_ACCOUNT: Final = "default"
_WHO: Final = controller("service-account-controller")


class Accounts:
    """Keeps the two objects in every namespace."""

    def __init__(self, registry: Registry, certificate: str) -> None:
        self._registry = registry
        self._certificate = certificate
        self.loop = Loop("namespace", self.reconcile)
        self.loop.follow(registry, "namespaces")
        self.loop.follow(registry, "serviceaccounts", lambda o: _when(o, _ACCOUNT))
        self.loop.follow(registry, "configmaps", lambda o: _when(o, ROOT))

    async def reconcile(self, _: str, name: str) -> float | None:
        """Make what one namespace lacks."""
        namespace = find(self._registry, "namespaces", "", name)
        if namespace is None or is_terminating(namespace):
            return None
        if find(self._registry, "serviceaccounts", name, _ACCOUNT) is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named(_ACCOUNT, name)}
            await self._registry.create("serviceaccounts", account, user=_WHO)
        if self._certificate and find(self._registry, "configmaps", name, ROOT) is None:
            text = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints."
            metadata = _named(ROOT, name) | {"annotations": {"kubernetes.io/description": text}}
            data = {"ca.crt": self._certificate}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self._registry.create("configmaps", made, user=_WHO)
        return None


def _named(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace}


def _when(obj: Object, name: str) -> list[tuple[str, str]]:
    return [("", obj["metadata"]["namespace"])] if obj["metadata"]["name"] == name else []
