"""The resources of the current snapshot, by type, name and client, each encoded once.

In: snapshots and what changed between them; streams, and the listeners they subscribe to (`warm`). Out: a `Catalogue` a peer. What several clients would get in the same form is
encoded once and shared (`resources.build.depends` says what tells clients apart). Refuses nothing: what does not exist is None, and is not remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.resources import build
from controlplane.resources.build import Client
from controlplane.xds import wire
from controlplane.xds.callers import Peer
from controlplane.xds.pushqueue import Key
from controlplane.xds.server import Views
from controlplane.xds.warm import MAX_WARM, WarmLists
from controlplane.xds.wire import Encoded
from meshapi.xds import Type

_GRPC_AGENT = "grpc"


class Source(Views):
    """Everything that can be asked for now."""

    def __init__(self) -> None:
        self.snapshot = MeshSnapshot()
        self.warm = WarmLists()
        self.encoded = 0
        """Resources encoded since the start."""
        self._shared: dict[Key, dict[tuple[object, ...], Encoded]] = {}
        self._volatile: dict[tuple[object, ...], Encoded] = {}

    def replace(self, snapshot: MeshSnapshot, changed: Iterable[Key]) -> None:
        """Serve from this snapshot on; what changed is encoded anew when asked for."""
        self.snapshot = snapshot
        self._volatile.clear()
        for key in changed:
            self._shared.pop(key, None)

    def catalogue(self, peer: Peer) -> View:
        """Give the view of a peer."""
        client = Client(
            namespace=peer.namespace,
            pod=peer.pod,
            grpc=peer.user_agent.lower().startswith(_GRPC_AGENT),
            warm=self._warm(peer),
            contract=peer.contract,
        )
        return View(self, client)

    def joined(self, peer: Peer) -> None:
        """Note that a peer has a stream."""
        self.warm.joined(_workload(peer))

    def subscribed(self, peer: Peer, added: Iterable[str], dropped: Iterable[str]) -> None:
        """Note the listeners a peer asked for and let go."""
        self.warm.changed(_workload(peer), added, dropped)

    def left(self, peer: Peer, names: Iterable[str]) -> None:
        """Note that a peer's stream is over."""
        self.warm.left(_workload(peer), names)

    def fetch(self, type_: Type, name: str, client: Client) -> Encoded | None:
        """A resource in the form this client gets, or None."""
        if client.grpc:
            # gRPC names its listeners by itself and gets routes inside them, so changes are not told by these names.
            key = (type_, name, client)
            found = self._volatile.get(key)
            if found is None and (found := self._encode(type_, name, client)) is not None:
                self._volatile[key] = found
            return found
        parts = build.depends(type_, name)
        form = tuple(getattr(client, part) for part in sorted(parts))
        shared = self._shared.get((type_, name))
        if shared is not None and form in shared:
            return shared[form]
        encoded = self._encode(type_, name, client)
        if encoded is not None:
            forms = self._shared.setdefault((type_, name), {})
            if "warm" in parts:
                forms.clear()  # one pod gets it, in one form at a time; the hint is another one with most streams
            forms[form] = encoded
        return encoded

    def sizes(self) -> dict[str, int]:
        """How much is remembered, for metrics."""
        return {"shared": sum(len(forms) for forms in self._shared.values()), "volatile": len(self._volatile)}

    def _encode(self, type_: Type, name: str, client: Client) -> Encoded | None:
        resource = build.build(self.snapshot, type_, name, client)
        if resource is None:
            return None
        self.encoded += 1
        return wire.encode(type_, name, resource.version, resource.body)

    def _warm(self, peer: Peer) -> tuple[str, ...]:
        if not peer.workload:
            return ()
        alone = Client(namespace=peer.namespace, pod=peer.pod)
        names = self.warm.of(_workload(peer))
        return tuple(name for name in names if self.fetch(Type.LISTENER, name, alone) is not None)[-MAX_WARM:]


def _workload(peer: Peer) -> tuple[str, str]:
    """Name what a pod belongs to; one that belongs to nothing is a workload of its own, which has no next pod."""
    return peer.namespace, peer.workload or f"Pod/{peer.pod}"


class View:
    """What one client may see; a `stream.Catalogue`."""

    def __init__(self, source: Source, client: Client) -> None:
        self._source = source
        self.client = client
        self.exhaustive = client.grpc

    def fetch(self, type_: Type, name: str) -> Encoded | None:
        """A resource, or None when there is no such thing for this client."""
        return self._source.fetch(type_, name, self.client)

    def names(self, type_: Type) -> Iterable[str]:
        """What a wildcard covers."""
        return build.names(self._source.snapshot, type_, self.client)

    def facts(self) -> dict[str, object]:
        """The client, for `/proxies`."""
        return asdict(self.client)
