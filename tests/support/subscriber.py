"""A client of the control plane without gRPC: what it wants, what it holds, and the streams it holds it from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.resources.build import Client
from controlplane.xds.callers import Peer
from controlplane.xds.source import Source
from controlplane.xds.stream import Conversation
from meshapi import protos
from meshapi.xds import Type

_DISCOVERY = "envoy.service.discovery.v3."


class Subscriber:
    """A client: one stream after the other, and what it holds from them."""

    def __init__(self, peer: Peer, *, delta: bool, wildcard: bool) -> None:
        self.peer = peer
        self.delta = delta
        self.wildcard = wildcard
        self.wanted: dict[Type, set[str]] = {type_: set() for type_ in Type}
        self.held: dict[tuple[Type, str], tuple[str, bytes]] = {}
        self.pending: set[tuple[Type, str]] = set()
        self.busy = False
        self.conversation: Conversation | None = None
        self.client = Client()
        self._source: Source | None = None

    def connect(self, source: Source) -> None:
        """Open a stream and say what is wanted and, if delta, what is held from before."""
        self.pending.clear()
        self.busy = False
        self._source = source
        source.joined(self.peer)
        view = source.catalogue(self.peer, lambda keys, _: self.pending.update(keys))
        self.client = view.client
        self.conversation = Conversation(view, delta=self.delta, listener=self)
        if not self.delta:
            self.held.clear()
        for type_, wanted in self.wanted.items():
            if wanted or self.wildcard:
                held = {name: version for (t, name), (version, _) in self.held.items() if t is type_}
                extra = {"resource_names_subscribe": sorted(wanted) + ["*"] * self.wildcard} if self.delta else {}
                self._say(type_, **extra, **({"initial_resource_versions": held} if self.delta else {}))

    def hang_up(self) -> None:
        """End the stream."""
        assert self.conversation is not None
        assert self._source is not None
        subscription = self.conversation.subscriptions.get(Type.LISTENER)
        self.conversation.close()
        self._source.left(self.peer, subscription.names if subscription else ())
        self.conversation = None

    def subscribe(self, type_: Type, names_: set[str]) -> None:
        """Want more."""
        self.wanted[type_] |= names_
        self._say(type_, **({"resource_names_subscribe": sorted(names_)} if self.delta else {}))

    def unsubscribe(self, type_: Type, names_: set[str]) -> None:
        """Want less; what is let go is forgotten."""
        self.wanted[type_] -= names_
        for name in names_ - set(self.covered(type_)):
            self.held.pop((type_, name), None)
        self._say(type_, **({"resource_names_unsubscribe": sorted(names_)} if self.delta else {}))

    def covered(self, type_: Type) -> Iterator[str]:
        """What the wildcard covers now, as far as the client knows."""
        return (name for t, name in list(self.held) if t is type_ and self.wildcard)

    def catch_up(self) -> None:
        """Take the pending push."""
        self.busy = False
        if self.pending and self.conversation is not None:
            taken = set(self.pending)
            self.pending.clear()
            self._take(self.conversation.push(taken))

    def _say(self, type_: Type, **fields: Any) -> None:
        if not self.delta:
            fields["resource_names"] = sorted(self.wanted[type_]) + ["*"] * self.wildcard
        kind = "DeltaDiscoveryRequest" if self.delta else "DiscoveryRequest"
        request = protos.message(_DISCOVERY + kind)(type_url=type_.url, **fields)
        assert self.conversation is not None
        self._take(self.conversation.received(request.SerializeToString()))

    def _take(self, messages: list[bytes]) -> None:
        for raw in messages:
            kind = "DeltaDiscoveryResponse" if self.delta else "DiscoveryResponse"
            response = protos.message(_DISCOVERY + kind).FromString(raw)
            type_ = Type(response.type_url)
            if self.delta:
                for name in response.removed_resources:
                    self.held.pop((type_, name), None)
                found = [(one.name, one.version, one.resource) for one in response.resources]
            else:
                found = [(_name_of(one), "", one) for one in response.resources]
                if type_ in {Type.LISTENER, Type.CLUSTER}:
                    self.held = {key: one for key, one in self.held.items() if key[0] is not type_}
            self.held.update({(type_, name): (version, one.value) for name, version, one in found})
            self._say_acknowledged(type_, response.nonce)

    def _say_acknowledged(self, type_: Type, nonce: str) -> None:
        self._say(type_, response_nonce=nonce)

    # What a conversation tells; the warm lists listen.
    def named(self, type_: Type, added: frozenset[str], dropped: frozenset[str]) -> None:
        assert self._source is not None
        if type_ is Type.LISTENER:
            self._source.subscribed(self.peer, added, dropped)

    def refused(self, nack: object) -> None:
        raise AssertionError(nack)

    def settled(self, seen: float) -> None:
        """Acknowledgements are no news here."""

    def introduced(self, node: object) -> None:
        raise AssertionError(node)


def _name_of(packed: Any) -> str:
    message = protos.message(packed.type_url.rpartition("/")[2]).FromString(packed.value)
    return message.cluster_name if packed.type_url == Type.ENDPOINTS.url else message.name  # type: ignore[no-any-return]
