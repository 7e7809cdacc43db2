"""Who is at the other end of an ADS stream, and may it have that node's configuration.

In: the caller (from its token) and the node it says it is. Out: the `Client` whose view of the mesh it gets. Refuses, with Denied: UNAUTHENTICATED without a good
token, INVALID_ARGUMENT for a node id that names no pod, PERMISSION_DENIED when the pod does not run under the caller's identity. A pod the
store has not seen yet is waited for briefly, since its sidecar may be faster than the watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import grpc

from controlplane.bounds import Who
from controlplane.ca.access import Denied
from controlplane.ca.tokens import Caller
from controlplane.feed.objects import Object, ObjectStore, Ref
from controlplane.resources.endpoints import family_of
from controlplane.xds.messages import Node
from meshapi import xds

GRACE_SECONDS = 5.0
_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A client that may have its node's configuration."""

    namespace: str
    pod: str
    identity: str
    node: str = ""
    """The Node it runs on."""
    workload: str = ""
    """`Kind/name` of what the pod belongs to."""
    version: str = ""
    certificate_expires_at: str = ""
    """As the sidecar says; another replica may have issued it."""
    user_agent: str = ""
    contract: int = xds.CONTRACT
    """The level of the contract it reads."""
    families: tuple[int, ...] = ()
    """Families of the pod's addresses, the first one first."""
    passed_over: str = ""
    """Fields it was sent and took no notice of, as it says."""
    answers: bool = False
    """Whether it can be asked."""

    @property
    def who(self) -> Who:
        """As whom it is counted."""
        return Who(self.namespace, self.pod, self.node)

    def told(self, node: Node) -> Peer:
        """Take what the node says of itself and may say anew."""
        said = node.metadata
        return replace(
            self,
            version=said.get("version", ""),
            certificate_expires_at=said.get("certificate_expires_at", ""),
            passed_over=said.get(xds.NODE_PASSED, ""),
        )


def contract_of(node: Node) -> int:
    """Tell what level a client reads: our sidecar says so, or is older than the word; others read all there is."""
    if node.user_agent != xds.SIDECAR_AGENT:
        return xds.CONTRACT
    said = node.metadata.get(xds.NODE_CONTRACT, "0")
    return min(int(said), xds.CONTRACT) if said.isdecimal() and len(said) < _DIGITS else 0


def families_of(pod: Mapping[str, Any]) -> tuple[int, ...]:
    """Tell the families of a pod's addresses, in their order; none while it has no address."""
    status = pod.get("status") or {}
    ips = [one["ip"] for one in status.get("podIPs") or ()] or [status.get("podIP")]
    return tuple(dict.fromkeys(family_of(ip) for ip in ips if ip))


class Callers(Protocol):
    """Decides who a stream belongs to."""

    async def admit(self, caller: Caller, node: Node) -> Peer:
        """Return the peer, or raise Denied."""


class PodCallers:
    """Peers are pods of this cluster."""

    def __init__(self, store: ObjectStore, workload_of: Callable[[Object], str], grace: float = GRACE_SECONDS) -> None:
        self._store = store
        self._workload_of = workload_of
        self._grace = grace
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = {}
        store.listen(self._changed)

    async def admit(self, caller: Caller, node: Node) -> Peer:
        """Check the node against the caller and the pods known; raises Denied."""
        pod, _, namespace = node.id.rpartition(".")
        if not pod or not namespace:
            raise Denied(
                grpc.StatusCode.INVALID_ARGUMENT, f"node id {node.id[:100]!r} is not of the form <pod>.<namespace>"
            )
        who = caller.identity
        if namespace != who.namespace or (caller.pod and caller.pod != pod):
            bound = f"pod {who.namespace}/{caller.pod}" if caller.pod else f"namespace {who.namespace}"
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED, f"node {node.id} is not the caller's: its token is for {bound}"
            )
        found = await self._find(namespace, pod)
        if found is None:
            raise Denied(grpc.StatusCode.PERMISSION_DENIED, f"there is no pod {namespace}/{pod}")
        account = (found.get("spec") or {}).get("serviceAccountName") or "default"
        if account != who.account:
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"pod {namespace}/{pod} runs as service account {account!r}, the caller is {who}",
            )
        return Peer(
            namespace=namespace,
            pod=pod,
            identity=str(who),
            node=str((found.get("spec") or {}).get("nodeName") or ""),
            workload=self._workload_of(found),
            user_agent=node.user_agent,
            contract=contract_of(node),
            answers=node.metadata.get(xds.NODE_ANSWERS) == "true",
            families=families_of(found),
        ).told(node)

    async def _find(self, namespace: str, pod: str) -> Object | None:
        found = self._store.get("Pod", namespace, pod)
        if found is not None:
            return found
        seen = asyncio.Event()
        self._waiting.setdefault((namespace, pod), set()).add(seen)
        try:
            async with asyncio.timeout(self._grace):
                await seen.wait()
        except TimeoutError:
            return None
        finally:
            waiters = self._waiting.get((namespace, pod), set())
            waiters.discard(seen)
            if not waiters:
                self._waiting.pop((namespace, pod), None)
        return self._store.get("Pod", namespace, pod)

    def _changed(self, ref: Ref) -> None:
        if ref.kind == "Pod":
            for seen in self._waiting.get((ref.namespace, ref.name), ()):
                seen.set()
