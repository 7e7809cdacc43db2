"""Whether the cluster knows native sidecars: its API server, and its oldest kubelet, which may be three minor versions behind.

In: what the API server says of itself, asked once at a replica's start, the nodes as the store has them, and a pod. Out: a yes or no for that pod, looked up anew when a node
changed. A node that is not ready, or takes no pods, counts only for what is bound to it. One whose kubelet does not say its version in the usual way counts as old; one that says none
at all is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.feed.kinds import NODE_LABELS
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube.client import ApiError, Cluster

FORBIDDEN = 403
NATIVE_SIDECARS_SINCE = (1, 29)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")

log = logging.getLogger(__name__)


async def server_knows(cluster: Cluster) -> bool:
    """Ask the API server; no where it may not be asked. Raises ApiError or aiohttp.ClientError."""
    try:
        found = await cluster.get("/version")
    except ApiError as error:
        if error.code != FORBIDDEN:
            raise
        log.warning(
            "the control plane may not read /version, so sidecars are plain containers; grant system:discovery, or set injection.nativeSidecar: %s",
            error,
        )
        return False
    return _is_new(f"{found.get('major', 0)}.{found.get('minor', 0)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A node a sidecar may come to."""

    name: str
    version: str
    labels: Mapping[str, str]
    takes: bool
    """Whether it is ready and pods may be put on it."""

    @property
    def old(self) -> bool:
        return not _is_new(self.version)


class Kubelets:
    """The kubelets' versions."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._changes = 0
        self._seen: tuple[int, list[_Node]] = (-1, [])
        """Those that say a version, and after how many changes of nodes they were looked up."""
        self._said = ""
        store.listen(self._changed)

    def know(self, spec: Mapping[str, Any]) -> bool:
        """Tell whether all kubelets a pod may come to know native sidecars: its own node's, else those that take pods and that it selects by labels we know of."""
        nodes = self._known()
        if not any(node.old for node in nodes):
            return True
        pinned = _pinned(spec)
        selected = {key: value for key, value in (spec.get("nodeSelector") or {}).items() if key in NODE_LABELS}
        taking = [node for node in nodes if node.takes] or nodes
        fitting = [node for node in taking if selected.items() <= node.labels.items()] or taking
        found = [node for node in nodes if node.name in pinned] or fitting
        old = next((node for node in found if node.old), None)
        if old is not None and old.name != self._said:
            self._said = old.name
            log.warning(
                "sidecars of pods that may come to node %s are plain containers: its kubelet is %s, native ones need %d.%d",
                old.name,
                old.version,
                *NATIVE_SIDECARS_SINCE,
            )
        return old is None

    def _known(self) -> list[_Node]:
        """Give the nodes as of now; asked from another thread than the one that changes the store, so what changes meanwhile is looked up again the next time."""
        changes = self._changes
        if self._seen[0] != changes:
            self._seen = changes, self._looked_up()
        return self._seen[1]

    def _looked_up(self) -> list[_Node]:
        nodes = []
        for node in list(self._store.of("Node")):
            spec, status = node.get("spec") or {}, node.get("status") or {}
            said = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
            labels = node["metadata"].get("labels") or {}
            one = _Node(
                name=node["metadata"]["name"],
                version=(status.get("nodeInfo") or {}).get("kubeletVersion") or "",
                labels={label: labels.get(label, "") for label in NODE_LABELS},
                takes=not spec.get("unschedulable") and said.get("Ready", "True") == "True",
            )
            if one.version:
                nodes.append(one)
        return nodes

    def _changed(self, ref: Ref) -> None:
        if ref.kind == "Node":
            self._changes += 1


def _pinned(spec: Mapping[str, Any]) -> set[str]:
    """Name the nodes a pod is bound to: by its `nodeName`, or as a DaemonSet's pods are, by required affinity to a node's name."""
    if spec.get("nodeName"):
        return {str(spec["nodeName"])}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    found: set[str] = set()
    for term in required.get("nodeSelectorTerms") or ():  # any of the terms may hold, so each must name nodes
        names = [
            one
            for one in term.get("matchFields") or ()
            if (one.get("key"), one.get("operator")) == ("metadata.name", "In")
        ]
        if not names:
            return set()
        found.update(map(str, names[0].get("values") or ()))
    return found


def _is_new(version: str) -> bool:
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= NATIVE_SIDECARS_SINCE
