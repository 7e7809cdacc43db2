"""Whether the cluster knows native sidecars: its API server, and its oldest kubelet, which may be three minor versions behind.

In: what the API server says of itself, asked once at a replica's start, and the nodes as the store has them. Out: a yes or no, looked up anew when a node changed. A
node whose kubelet does not say its version in the usual way counts as old; one that says none at all is left out.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube.client import Cluster

NATIVE_SIDECARS_SINCE = (1, 29)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")

log = logging.getLogger(__name__)


async def server_knows(cluster: Cluster) -> bool:
    """Ask the API server; raises ApiError or aiohttp.ClientError."""
    found = await cluster.get("/version")
    return _is_new(f"{found.get('major', 0)}.{found.get('minor', 0)}")


class Kubelets:
    """The kubelets' versions."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._old: str | None = None
        """The first node that is too old, "" for none; None when it must be looked up."""
        self._said = ""
        store.listen(self._changed)

    def know(self) -> bool:
        """Tell whether all of them know native sidecars."""
        if self._old is None:
            self._old, version = next(
                ((node["metadata"]["name"], found) for node, found in self._versions() if not _is_new(found)), ("", "")
            )
            if self._old and self._old != self._said:
                log.warning(
                    "sidecars are plain containers: the kubelet of node %s is %s, native ones need %d.%d",
                    self._old,
                    version,
                    *NATIVE_SIDECARS_SINCE,
                )
            self._said = self._old
        return not self._old

    def _versions(self) -> list[tuple[dict[str, Any], str]]:
        nodes = [
            (node, ((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or "")
            for node in self._store.of("Node")
        ]
        return [(node, version) for node, version in nodes if version]

    def _changed(self, ref: Ref) -> None:
        if ref.kind == "Node":
            self._old = None


def _is_new(version: str) -> bool:
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= NATIVE_SIDECARS_SINCE
