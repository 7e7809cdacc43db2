"""Where callers are, as far as this replica knows: whose an address is, and on which node a pod runs.

In: the store of objects and the snapshot in force. Out: a `Who` to count by. An address nobody is known to have stands for a node of its own: pods the feed has
not brought yet, and whatever hides behind a translated address. Refuses nothing.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

from controlplane.bounds import Who
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.feed.objects import ObjectStore


class Places:
    """Look-ups of callers."""

    def __init__(self, store: ObjectStore, snapshot: Callable[[], MeshSnapshot]) -> None:
        self._store = store
        self._snapshot = snapshot

    def at(self, peer: str) -> Who:
        """Say whose a peer's address is, as gRPC writes it (`ipv4:10.0.0.1:5000`, `ipv6:%5B::1%5D:5000`)."""
        return self.whose(urllib.parse.unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]"))

    def whose(self, address: str) -> Who:
        """Say whose an address is; one of IPv4 may come as a socket of both families writes it (`::ffff:10.0.0.1`)."""
        address = address.removeprefix("::ffff:")
        snapshot = self._snapshot()
        key = snapshot.pod_ips.get(address)
        entry = snapshot.pods.get(key) if key else None
        if key is None or entry is None:
            return Who(node=f"at {address}") if address else Who()
        return Who(key.namespace, key.name, entry.pod.node)

    def of(self, namespace: str, pod: str) -> Who:
        """Say on which node a pod runs."""
        found = self._store.get("Pod", namespace, pod) or {}
        return Who(namespace, pod, str((found.get("spec") or {}).get("nodeName") or ""))
