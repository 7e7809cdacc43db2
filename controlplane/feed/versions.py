"""Whether the cluster knows native sidecars: its API server, and its oldest kubelet, which may be three minor versions behind.

In: a Cluster. Out: a yes or no, asked once at a replica's start. A node whose kubelet does not say its version in the usual way counts as old; one that says none
at all is left out.
"""

from __future__ import annotations

import logging
import re

import msgspec

from controlplane.kube.client import Cluster, path_of

NATIVE_SIDECARS_SINCE = (1, 29)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")

log = logging.getLogger(__name__)


class _Info(msgspec.Struct, rename="camel"):
    kubelet_version: str = ""


class _Status(msgspec.Struct, rename="camel"):
    node_info: _Info | None = None


class _Meta(msgspec.Struct):
    name: str = ""


class _Node(msgspec.Struct):
    metadata: _Meta
    status: _Status | None = None


class _Nodes(msgspec.Struct):
    items: list[_Node]


async def knows_native_sidecars(cluster: Cluster) -> bool:
    """Ask the API server and read every node; raises ApiError or aiohttp.ClientError."""
    found = await cluster.get("/version")
    server = f"{found.get('major', 0)}.{found.get('minor', 0)}"
    if not _is_new(server):
        return False
    async for page in cluster.pages(path_of("v1", "nodes")):
        for node in msgspec.json.decode(page, type=_Nodes).items:
            version = node.status.node_info.kubelet_version if node.status and node.status.node_info else ""
            if version and not _is_new(version):
                log.warning(
                    "sidecars are plain containers: the kubelet of node %s is %s, native ones need %d.%d",
                    node.metadata.name,
                    version,
                    *NATIVE_SIDECARS_SINCE,
                )
                return False
    return True


def _is_new(version: str) -> bool:
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= NATIVE_SIDECARS_SINCE
