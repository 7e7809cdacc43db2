"""The objects a new cluster has: namespaces, roles, and the `kubernetes` Service through which pods find the API.

In: the registry. Out: objects in it. The Service is made anew when somebody deletes it, as on a real cluster.
"""

from __future__ import annotations

import asyncio

from devcluster.access import bootstrap
from devcluster.api import addresses
from devcluster.api.errors import Object, StatusError
from devcluster.api.registry import Registry
from devcluster.api.watch import WatchEvent
from devcluster.runtime.network import API_PORT, NODE_ADDRESS

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SLICES = "endpointslices.discovery.k8s.io"


class FirstObjects:
    """Makes them, and keeps the one clients cannot do without."""

    def __init__(self, registry: Registry, *, reachable: bool) -> None:
        self._registry = registry
        self._reachable = reachable
        self._gone = asyncio.Event()

    async def make(self) -> None:
        """Make everything."""
        for name in NAMESPACES:
            await self._registry.create("namespaces", {"metadata": {"name": name}})
        for obj in bootstrap.objects():
            row = self._registry.resources.of(obj)
            if row is not None:
                await self._registry.create(row, obj)
        await self._make_service()
        for kind in ("services", _SLICES):
            self._registry.subscribe(kind, self._seen)

    def _seen(self, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if event.type == "DELETED" and (metadata["namespace"], metadata["name"]) == ("default", "kubernetes"):
            self._gone.set()

    async def keep(self) -> None:
        """Make the Service anew for as long as the cluster lives."""
        while True:
            await self._gone.wait()
            self._gone.clear()
            await self._make_service()

    async def _make_service(self) -> None:
        wanted = [("services", _service())]
        if self._reachable:
            wanted.append((_SLICES, _endpoints()))
        for kind, obj in wanted:
            try:
                await self._registry.create(kind, obj)
            except StatusError as error:
                if error.code != 409:
                    raise


def _service() -> Object:
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": addresses.API,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": API_PORT}],
        },
    }


def _endpoints() -> Object:
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
    }
