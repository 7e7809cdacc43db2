"""One ADS stream as a conversation: a request or a push in, the responses it calls for out. Sans-io.

In: `received` with a request's bytes, `push` with the resources that changed. Out: response bytes, already in make-before-break order
(xDS protocol, "Eventual consistency considerations"): clusters, endpoints, listeners, routes, and only then removals of clusters
and endpoints. Envoy warms a cluster only when its endpoints are answered after it, so endpoints follow each cluster sent, changed
or not. Refuses what is no discovery request: BadRequestError. A NACK is told to the `StreamListener` and otherwise changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controlplane.xds import messages
from controlplane.xds.messages import Encoded
from controlplane.xds.pushqueue import Key
from controlplane.xds.subscription import WILDCARD, Subscription
from meshapi.xds import PUSH_ORDER, Type

_WHOLE = frozenset({Type.LISTENER, Type.CLUSTER})
"""State of the world: types of which every response holds all that is subscribed; absence means deletion."""
_LATE = frozenset({Type.CLUSTER, Type.ENDPOINTS})
"""Types whose removals wait until nothing refers to them any more."""
MAX_NAMES = 50_000
"""Names one stream may subscribe to; far above any real client, and a bound all the same."""


class Catalogue(Protocol):
    """The resources of one client's view."""

    def fetch(self, type_: Type, name: str) -> Encoded | None:
        """A resource, or None when there is no such thing; from then on its changes are told."""

    def names(self, type_: Type) -> frozenset[str]:
        """What a wildcard covers; from then on its changes are told under the name WILDCARD."""

    def keep(self, type_: Type, names: set[str]) -> None:
        """Let go of everything of a type but these."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """A client refused a response."""

    type: Type
    names: tuple[str, ...]
    sentence: str


class StreamListener(Protocol):
    """Who is told what a client says."""

    def named(self, type_: Type, added: frozenset[str], dropped: frozenset[str]) -> None:
        """Names were subscribed to, or let go."""

    def refused(self, nack: Nack) -> None:
        """A response was refused."""

    def settled(self, seen: float) -> None:
        """A change that was seen then is acknowledged."""

    def introduced(self, node: messages.Node) -> None:
        """The client said who it is, or said it anew."""


class Conversation:
    """The protocol state of one stream over one client's catalogue."""

    def __init__(self, catalogue: Catalogue, *, delta: bool, listener: StreamListener) -> None:
        self._catalogue = catalogue
        self._delta = delta
        self._listener = listener
        self.subscriptions: dict[Type, Subscription] = {}
        self._seen = 0.0
        """When the change was seen that is being told; 0 where an answer is."""

    def received(self, raw: bytes) -> list[bytes]:
        """Take a request; raises BadRequestError."""
        type_, ask, node = messages.decode(raw, delta=self._delta)
        if node is not None:
            self._listener.introduced(node)
        if type_ is None:
            return self._nothing_of(raw)
        subscription = self.subscriptions.get(type_)
        if subscription is None:
            subscription = self.subscriptions[type_] = Subscription(delta=self._delta)
        if max(len(subscription.names) + len(ask.subscribe), len(ask.known)) > MAX_NAMES:
            raise messages.BadRequestError(f"more than {MAX_NAMES} names of type {type_.name.lower()} on one stream")
        if ask.error is not None:
            self._listener.refused(Nack(type=type_, names=tuple(subscription.refused(ask)), sentence=ask.error))
        covered = subscription.wildcard
        answer = subscription.ask(ask)
        if subscription.settled:
            self._listener.settled(subscription.settled)
        if subscription.dropped or (covered and not subscription.wildcard):
            self._keep(type_, subscription)
        if subscription.added or subscription.dropped:
            self._listener.named(type_, subscription.added, subscription.dropped)
        if not answer:
            return []
        if not self._delta:
            return [self._world(type_, subscription, answer)]
        names = self._spread(type_, subscription, answer).union(ask.known if WILDCARD in answer else ())
        return self._delta_messages(type_, subscription, names, asked=answer - {WILDCARD}, always=WILDCARD in answer)

    def push(self, keys: Iterable[Key], seen: float = 0.0) -> list[bytes]:
        """Say what of the changed resources concerns this stream; `seen` is when the change behind them was."""
        self._seen = seen
        changed: dict[Type, set[str]] = {}
        for type_, name in keys:
            changed.setdefault(type_, set()).add(name)
        out = self._push_delta(changed) if self._delta else self._push_world(changed)
        self._seen = 0.0
        for type_, names in changed.items():
            subscription = self.subscriptions.get(type_)
            if WILDCARD in names and subscription is not None and subscription.wildcard:
                self._keep(type_, subscription)
        return out

    def behind(self, type_: Type, name: str) -> bool:
        """Tell whether the client has not acknowledged a resource it is subscribed to as it is now."""
        subscription = self.subscriptions.get(type_)
        if subscription is None or name not in subscription.names:
            return True
        known, current = subscription.progress.get(name), self._catalogue.fetch(type_, name)
        return known is None or current is None or known.acked != current.version

    def close(self) -> None:
        """The stream is over."""
        self._catalogue.close()
        del self._listener  # which holds us: a cycle that was frozen (`timing.Collector`) would never be freed

    def _push_delta(self, changed: dict[Type, set[str]]) -> list[bytes]:
        out: list[bytes] = []
        late: list[tuple[Type, Subscription, list[str]]] = []
        follow: set[str] = set()
        for type_ in PUSH_ORDER:
            following = follow if type_ is Type.ENDPOINTS else ()
            subscription = self.subscriptions.get(type_) if following or type_ in changed else None
            if subscription is None:
                continue
            names = self._concerned(type_, subscription, changed.get(type_, set()))
            found, gone = self._split(type_, subscription, names)
            if type_ is Type.CLUSTER:
                follow = {one.name for one in found}
            elif following:
                found += self._fetched(type_, (follow & subscription.names) - {one.name for one in found})
            if type_ in _LATE and gone:
                late.append((type_, subscription, gone))
                gone = []
            out += self._send_delta(type_, subscription, found, gone)
        for type_, subscription, gone in late:
            out += self._send_delta(type_, subscription, [], gone)
        return out

    def _push_world(self, changed: dict[Type, set[str]]) -> list[bytes]:
        out: list[bytes] = []
        follow: set[str] = set()
        for type_ in PUSH_ORDER:
            subscription = self.subscriptions.get(type_)
            if subscription is None:
                continue
            names = self._concerned(type_, subscription, changed.get(type_, set()))
            found, gone = self._split(type_, subscription, names)
            lacking = {one.name for one in found}
            if type_ is Type.CLUSTER:
                follow = lacking
            elif type_ is Type.ENDPOINTS:
                lacking |= follow & subscription.names
            if lacking or (gone and type_ in _WHOLE):
                out.append(self._world(type_, subscription, lacking))
        return out

    def _concerned(self, type_: Type, subscription: Subscription, changed: set[str]) -> set[str]:
        names = changed & subscription.names
        if subscription.wildcard and changed:
            covered, had = self._catalogue.names(type_), subscription.progress
            # One changed resource costs one look, however many the wildcard covers.
            names |= covered | set(had) if WILDCARD in changed else {n for n in changed if n in covered or n in had}
        return names

    def _split(self, type_: Type, subscription: Subscription, names: set[str]) -> tuple[list[Encoded], list[str]]:
        found: list[Encoded] = []
        gone: list[str] = []
        visible = self._catalogue.names(type_) if subscription.wildcard and names else frozenset()
        for name in sorted(names):
            resource = self._catalogue.fetch(type_, name) if name in visible or name in subscription.names else None
            if resource is None:
                if name in subscription.progress:
                    gone.append(name)
            elif subscription.lacks(name, resource.version):
                found.append(resource)
        return found, gone

    def _delta_messages(
        self, type_: Type, subscription: Subscription, names: set[str], *, asked: set[str], always: bool
    ) -> list[bytes]:
        found, gone = self._split(type_, subscription, names)
        had = {one.name for one in found} | set(subscription.progress)
        gone = sorted({*gone, *(name for name in asked if name not in had)})
        return self._send_delta(type_, subscription, found, gone, always=always)

    def _send_delta(
        self, type_: Type, subscription: Subscription, found: list[Encoded], gone: list[str], *, always: bool = False
    ) -> list[bytes]:
        if not found and not gone and not always:
            return []
        out = []
        for batch in messages.portions(found):
            nonce = subscription.sent({one.name: one.version for one in batch}, gone, self._seen)
            out.append(messages.delta_response(type_, nonce, batch, gone))
            gone = []
        return out

    def _world(self, type_: Type, subscription: Subscription, names: set[str]) -> bytes:
        whole = type_ in _WHOLE or WILDCARD in names
        wanted = self._spread(type_, subscription, {WILDCARD} | subscription.names) if whole else names
        found = self._fetched(type_, wanted)
        held = {one.name: one.version for one in found}
        dropped = set(subscription.progress) - held.keys() if whole else set()
        return messages.world_response(type_, subscription.sent(held, dropped, self._seen), found)

    def _spread(self, type_: Type, subscription: Subscription, names: set[str]) -> set[str]:
        """Replace the wildcard by what it covers."""
        covered = self._catalogue.names(type_) if subscription.wildcard and WILDCARD in names else frozenset()
        return (names - {WILDCARD}) | covered

    def _keep(self, type_: Type, subscription: Subscription) -> None:
        """Let go of what is neither named any more nor covered."""
        kept = self._spread(type_, subscription, {WILDCARD} | subscription.names)
        self._catalogue.keep(type_, kept | ({WILDCARD} if subscription.wildcard else set()))

    def _fetched(self, type_: Type, names: Iterable[str]) -> list[Encoded]:
        found = (self._catalogue.fetch(type_, name) for name in sorted(names))
        return [one for one in found if one is not None]

    def _nothing_of(self, raw: bytes) -> list[bytes]:
        """A type nobody serves: say once that there is nothing, so that a client waiting for it (Envoy at start) goes on."""
        return messages.nothing(raw, delta=self._delta)
