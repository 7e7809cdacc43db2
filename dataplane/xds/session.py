"""The sidecar's side of delta ADS, without a socket: asks by name for what it needs, applies what comes, acknowledges or refuses.

In: bytes of responses, and `want`/`drop` for destinations. Out: bytes of requests, and `config`, a new `SidecarConfig` whenever something in
force changed. It subscribes by following references from its inbound listener and the wanted ones. A resource it cannot use is
refused in a sentence, alone: the others of the same response apply, and the last good form stays. On a new stream it resumes with
the versions it holds (xDS protocol, "Incremental xDS").
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import Any

from google.protobuf.message import DecodeError

from dataplane.config import Listener, SidecarConfig
from dataplane.finding import ABSENT, ASKED, KNOWN, Finding, Found
from dataplane.xds import messages
from dataplane.xds.decode import Notes, Noun, RefusedError, decode
from dataplane.xds.settle import Held, Settling, enforced, references
from dataplane.xds.uses import Key, Uses
from meshapi import xds
from meshapi.records import replace
from meshapi.xds import PUSH_ORDER, Type

log = logging.getLogger(__name__)

_DISCOVERY = "envoy.service.discovery.v3."
PORTION_BYTES = 1536 * 1024
"""Names subscribed to in one request, and as much of those let go, about: gRPC servers take messages of 4 MiB unless told otherwise."""
_FRAMING = 8
"""What the encoding adds to a name, or to a name and its version, at most."""


class Session:
    """One sidecar's subscriptions and what came of them, across streams."""

    def __init__(self, namespace: str, pod: str, metadata: Mapping[str, str] | None = None) -> None:
        self.config = SidecarConfig()
        """What is in force."""
        self.passed: Counter[str] = Counter()
        """How often which field was passed over (`ignored`), by its full name."""
        self.warm: tuple[str, ...] | None = None
        """Destinations the control plane thinks this workload uses; None before the inbound listener said so."""
        self.questions: list[tuple[str, str]] = []
        """Asked and not taken up yet: names, and paths with their queries."""
        self._node = messages.message("envoy.config.core.v3.Node")(
            id=f"{pod}.{namespace}", user_agent_name=xds.SIDECAR_AGENT
        )
        self._node.metadata.update(dict(metadata or {}))
        self._inbound = xds.inbound_listener(namespace, pod)
        self._own: frozenset[Key] = frozenset({(Type.SECRET, xds.TRUST_BUNDLE), (Type.LISTENER, self._inbound)})
        self._roots: set[Key] = set(self._own)
        """What this sidecar has for its own sake: those two, and the listeners that are wanted."""
        self._held: dict[Type, Held] = {type_: Held() for type_ in Type}
        self._asked: dict[Type, set[str]] = {type_: set() for type_ in Type}
        """Subscribed to on this stream."""
        self._needed: dict[Type, set[str]] = {type_: set() for type_ in Type}
        """To be subscribed to: what is in force and what is to replace it, from the roots down. Nothing else is held."""
        self._needs, self._enforces = Uses(), Uses()
        """What the roots need besides themselves, and what they have in force."""
        self._streaming = False
        self._stirred: dict[Type, set[str]] = {}
        """By type, the names that may be needed, or needed no more, unlike when it was last asked for."""
        self._introduced = False
        """Whether the node was said on this stream as it is now."""
        self._spoken: set[Type] = set()
        """Types a request was sent for on this stream."""
        for type_, name in self._own:
            self._needed[type_].add(name)

    @property
    def wanted(self) -> set[str]:
        """The listeners that are wanted."""
        return {name for _, name in self._roots - self._own}

    @property
    def refusals(self) -> dict[tuple[Type, str], str]:
        """Sentences about resources whose last form could not be used."""
        return {(type_, name): words for type_, held in self._held.items() for name, words in held.refused.items()}

    @property
    def ready(self) -> bool:
        """Whether the inbound listener and the roots are known."""
        return self._inbound in self.config.listeners and xds.TRUST_BUNDLE in self.config.secrets

    def describe(self, key: str, value: str) -> None:
        """Say something of this sidecar to the control plane, with the next request."""
        self._node.metadata.update({key: value})
        self._introduced = False

    def want(self, name: str) -> None:
        """Subscribe to a listener; `pending` has the request."""
        self._roots.add((Type.LISTENER, name))
        self._needed[Type.LISTENER].add(name)
        self._stir(Type.LISTENER, name)

    def drop(self, names: AbstractSet[str]) -> None:
        """Let listeners go, and all that only they need: out of force and out of memory in the same step."""
        roots = {(Type.LISTENER, name) for name in names} - self._own
        self._roots -= roots
        self._settle(roots)

    def find(self, name: str) -> Finding:
        """Tell what is known of a listener."""
        if name in self.config.listeners:
            return KNOWN
        held = self._held[Type.LISTENER]
        match held.found(name):
            case Found.ABSENT:
                return ABSENT
            case Found.REFUSED:
                return Finding(Found.REFUSED, held.refused[name])
            case _:
                return ASKED

    def held(self) -> tuple[int, int]:
        """Count the names subscribed to, and to be: of all types, and of the one that has most."""
        counts = [len(names) for names in self._needed.values()]
        return sum(counts), max(counts)

    def leading(self, more_than: int) -> dict[str, tuple[int, int]]:
        """Name the wanted listeners that lead to more names than that, each with the same counts of those."""
        found: dict[str, tuple[int, int]] = {}
        for root in self._roots - self._own:
            keys = self._needs.led(root)
            if len(keys) > more_than:
                found[root[1]] = len(keys), max(Counter(type_ for type_, _ in keys).values())
        return found

    def connected(self) -> list[bytes]:
        """Begin on a new stream; returns what to send."""
        self._streaming = True
        self._stirred = {type_: set(names) for type_, names in self._needed.items()}
        self._introduced = False
        self._spoken.clear()
        self._asked = {type_: set() for type_ in Type}
        return self.pending()

    def pending(self) -> list[bytes]:
        """Return the subscription changes made since the last call."""
        if not self._streaming or not self._stirred:
            return []
        stirred, self._stirred = self._stirred, {}
        requests = []
        for type_ in (one for one in PUSH_ORDER if one in stirred):
            needed, asked = self._needed[type_], self._asked[type_]
            fresh, stale = (stirred[type_] & needed) - asked, (stirred[type_] & asked) - needed
            if fresh or stale:
                requests += self._subscription(type_, fresh, stale)
                asked |= fresh
                asked -= stale
        return requests

    def receive(self, raw: bytes) -> list[bytes]:
        """Take a response; returns the answer to it. What it leads to is asked for by `pending`, once it is known what of it is kept."""
        try:
            response = messages.message(_DISCOVERY + "DeltaDiscoveryResponse").FromString(raw)
            if response.type_url == xds.QUESTION:
                self.questions += [
                    (one.name, one.resource.value.decode("ascii", "replace")) for one in response.resources
                ]
                return []
            type_ = Type(response.type_url)
        except (DecodeError, ValueError):
            log.warning("the control plane sent something that is no response for a type asked for; it is ignored")
            return []
        passed = len(self.passed)
        refused = self._apply(type_, response)
        if len(self.passed) != passed:
            self.describe(xds.NODE_PASSED, ",".join(sorted(self.passed)))
        said = {(type_, name) for name in (*(one.name for one in response.resources), *response.removed_resources)}
        self._settle((said & self._roots).union(*(self._needs.roots(key) for key in said)))
        fields: dict[str, Any] = {"type_url": type_.url, "response_nonce": response.nonce}
        if refused:
            sentence = "; ".join(refused)
            log.warning("refused from the control plane: %s", sentence)
            # INVALID_ARGUMENT (google.rpc.Code)
            fields["error_detail"] = {"code": 3, "message": sentence}
        return [self._request(**fields)]

    def _apply(self, type_: Type, response: Any) -> list[str]:
        """Take in each resource by itself; return the sentences about those that were refused."""
        held, refused = self._held[type_], []
        for resource in response.resources:
            name = resource.name
            if name not in self._needed[type_] or not resource.HasField("resource"):
                continue  # let go when it was on the way; a heartbeat of a resource with a time to live
            notes = Notes(self.passed)
            try:
                noun = decode(type_, name, resource.resource.value, notes)
            except RefusedError as error:
                sentence = f"{name}: {error}" if name not in str(error) else str(error)
                held.refuse(name, sentence)
                refused.append(sentence)
                continue
            if name == self._inbound and isinstance(noun, Listener):
                noun = self._hinted(noun)
            if name not in held.nouns:
                self._ask_again(noun)
            held.take(name, noun, resource.version, "; ".join(notes.lost))
            refused += notes.lost
        for name in response.removed_resources:
            if name in self._needed[type_]:
                held.remove(name)
        return refused

    def _hinted(self, noun: Listener) -> Listener:
        """Take the hint off the inbound listener, which is the same listener whatever is hinted."""
        told = dict(noun.metadata).get("warm")
        self.warm = tuple(str(name) for name in told) if isinstance(told, tuple) else ()
        return replace(noun, metadata=tuple((key, value) for key, value in noun.metadata if key != "warm"))

    def _ask_again(self, noun: Noun) -> None:
        """Ask again for what a new resource leads to and did not exist before: it may have come into being together with it."""
        for type_, name in references(noun):
            held = self._held[type_]
            if held.found(name) is Found.ABSENT:
                held.forget(name)
                self._asked[type_].discard(name)
                self._stir(type_, name)

    def _settle(self, roots: AbstractSet[Key]) -> None:
        """Bring what is in force and what is needed up to date, as far as these roots lead; others are as they were."""
        settling = Settling(self._held, self.config)
        chosen: dict[Key, Noun] = {}
        left: set[Key] = set()
        for root in roots:
            found = settling.chosen(root) if root in self._roots else {}
            left |= self._enforces.put(root, found.keys())
            chosen |= found
        self.config = self._told(enforced(self.config, chosen, self._enforces.unused(left)))
        settling = Settling(self._held, self.config)
        left = set(roots - self._roots)
        for root in roots:
            needed = settling.needed(root) if root in self._roots else set()
            left |= self._needs.put(root, needed)
            for type_, name in needed:
                if name not in self._needed[type_]:
                    self._needed[type_].add(name)
                    self._stir(type_, name)
        for type_, name in self._needs.unused(left) - self._roots:
            self._needed[type_].discard(name)
            self._held[type_].forget(name)
            self._stir(type_, name)

    def _stir(self, type_: Type, name: str) -> None:
        """Have it asked for, or let go, with the next request; without a stream too, and then no more is kept than is needed or was asked for."""
        stirred = self._stirred.setdefault(type_, set())
        if name in self._needed[type_] or name in self._asked[type_]:
            stirred.add(name)
        else:
            stirred.discard(name)

    def _told(self, config: SidecarConfig) -> SidecarConfig:
        """Say why there is nothing in force where something was refused."""
        routes = self._held[Type.ROUTES].unusable(config.routes)
        clusters = self._held[Type.CLUSTER].unusable(config.clusters)
        if routes == config.refused_routes and clusters == config.refused_clusters:
            return config
        return replace(config, refused_routes=routes, refused_clusters=clusters)

    def _subscription(self, type_: Type, fresh: set[str], stale: set[str]) -> list[bytes]:
        """Write a change of subscriptions in requests of bearable size; versions go with the first of a type on a stream, and what they leave out is sent anew."""
        # The bundle is always sent anew: that it comes shows that the control plane takes this stream, also when nothing changed.
        versions = {} if type_ in self._spoken else dict(self._held[type_].versions)
        versions.pop(xds.TRUST_BUNDLE, None)
        requests: list[bytes] = []
        for names, gone in zip_longest(_portions(sorted(fresh), versions), _portions(sorted(stale), {}), fillvalue=()):
            told = {} if requests else {name: versions[name] for name in names if name in versions}
            requests.append(
                self._request(
                    type_url=type_.url,
                    resource_names_subscribe=names,
                    resource_names_unsubscribe=gone,
                    initial_resource_versions=told,
                )
            )
        return requests

    def _request(self, **fields: Any) -> bytes:
        """Write a request; the node goes with the first of a stream, and with the first that has news of it."""
        if not self._introduced:
            fields["node"] = self._node
            self._introduced = True
        self._spoken.add(Type(fields["type_url"]))
        raw: bytes = messages.message(_DISCOVERY + "DeltaDiscoveryRequest")(**fields).SerializeToString()
        return raw


def _portions(names: list[str], versions: Mapping[str, str]) -> list[list[str]]:
    """Split names where a request that holds them, and their versions if it is the first, would grow too long; at least one portion."""
    portions: list[list[str]] = [[]]
    size = 0
    for name in names:
        known = versions.get(name) if len(portions) == 1 else None
        cost = _FRAMING + len(name) + (_FRAMING + len(name) + len(known) if known is not None else 0)
        if portions[-1] and size + cost > PORTION_BYTES:
            portions.append([])
            size, cost = 0, _FRAMING + len(name)
        portions[-1].append(name)
        size += cost
    return portions
