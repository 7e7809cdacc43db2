"""What one stream knows of one resource type: names asked for, versions sent, accepted and refused. Sans-io.

In: requests (`Ask`, transport-neutral for delta and state of the world), and `sent` when a response goes out. Out: which names need an
answer now, and for a push which of the changed names this stream still lacks. Rules: the xDS protocol, "ACK/NACK and resource type
instance version", "Incremental xDS" (resubscribed names are sent again; subscription changes count even with a stale nonce; a refusal
is recognised by `error_detail` alone). It refuses nothing a client says; a nonce it does not know it ignores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

WILDCARD = "*"
MAX_INFLIGHT = 64
"""Responses remembered until acknowledged; a client that acknowledges none of so many loses only its display in `/proxies`."""
MAX_REASON = 500
"""Characters of a refusal kept for each resource, of which there may be thousands with a sentence each."""
NO_NAMES: frozenset[str] = frozenset()
"""One for all: another empty set takes 216 bytes."""
_NONE: tuple[Mapping[str, str], float] = {}, 0.0
"""Stands for a response nobody remembers."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A discovery request, after decoding."""

    subscribe: frozenset[str] = NO_NAMES
    unsubscribe: frozenset[str] = NO_NAMES
    known: Mapping[str, str] = {}
    """Delta: initial_resource_versions."""
    nonce: str = ""
    error: str | None = None
    """The sentence of a NACK."""


class Progress(msgspec.Struct, gc=False):
    """How far one resource has come with this client. There are some for each stream, and the collector looks at none."""

    sent: str
    acked: str = ""
    nacked: str = ""
    reason: str = ""


class Subscription:
    """One type on one stream. `wildcard` is both the explicit `*` and the legacy form: never a name given on this stream."""

    __slots__ = (
        "_first",
        "_inflight",
        "_named",
        "_nonce",
        "added",
        "delta",
        "dropped",
        "missing",
        "names",
        "progress",
        "settled",
        "wildcard",
    )

    def __init__(self, *, delta: bool) -> None:
        self.delta = delta
        self.names: set[str] = set()
        self.wildcard = False
        self.progress: dict[str, Progress] = {}
        """By name: what was sent last, and what came of it."""
        self.missing: set[str] = set()
        """Names asked for that do not exist; delta clients were told so."""
        self.added: frozenset[str] = NO_NAMES
        """Names the last request came with, that were not subscribed before."""
        self.dropped: frozenset[str] = NO_NAMES
        """Names the last request ended."""
        self._first = True
        self._named = False
        self._nonce = 0
        self._inflight: dict[str, tuple[Mapping[str, str], float]] = {}
        """By nonce, the versions of what was sent, and when the change was seen that it was sent for; 0 where that was none."""
        self.settled = 0.0
        """When the change was seen that the last request acknowledges; 0 where it acknowledges none."""

    def ask(self, request: Ask) -> set[str]:
        """Take a request; return the names (WILDCARD among them for everything) that must be answered now."""
        self._acknowledge(request)
        before = self.names if self.delta else frozenset(self.names)
        if self.delta:
            self.added = request.subscribe - before - {WILDCARD} or NO_NAMES
            self.dropped = (request.unsubscribe - request.subscribe) & before or NO_NAMES
        answer = self._take_delta(request) if self.delta else self._take_world(request)
        if not self.delta:
            self.added = frozenset(self.names - before) or NO_NAMES
            self.dropped = frozenset(before - self.names) or NO_NAMES
        self._first = False
        return answer

    def refused(self, request: Ask) -> list[str]:
        """Names a NACK speaks of: those its sentence mentions, or else all of that response. Call before `ask`."""
        return self._named_in(self._inflight.get(request.nonce, _NONE)[0], request.error)

    @property
    def unacknowledged(self) -> str:
        """Nonce of the oldest response that was neither accepted nor refused; empty when there is none."""
        return next(iter(self._inflight), "")

    @property
    def waiting_since(self) -> float:
        """When the oldest change was seen that was sent and neither accepted nor refused; 0 where there is none."""
        return min((seen for _, seen in self._inflight.values() if seen), default=0.0)

    def lacks(self, name: str, version: str) -> bool:
        """Tell whether this client was not sent that version of a resource it subscribes to."""
        seen = self.progress.get(name)
        return seen is None or seen.sent != version

    def sent(self, resources: Mapping[str, str], removed: Iterable[str] = (), seen: float = 0.0) -> str:
        """Note a response going out ({name: version}, kept, names told to be gone, and when the change was seen); returns its nonce."""
        self._nonce += 1
        nonce = str(self._nonce)
        for name, version in resources.items():
            progress = self.progress.get(name)
            if progress is None:
                self.progress[name] = Progress(version)
            else:
                progress.sent = version
            self.missing.discard(name)
        for name in removed:
            self.progress.pop(name, None)
            if name in self.names:
                self.missing.add(name)
        self._inflight[nonce] = resources, seen
        if len(self._inflight) > MAX_INFLIGHT:
            del self._inflight[self.unacknowledged]
        return nonce

    def _acknowledge(self, request: Ask) -> None:
        batch, seen = self._inflight.pop(request.nonce, _NONE)
        self.settled = seen if request.error is None else 0.0
        refused = set(self._named_in(batch, request.error))
        for name, version in batch.items():
            progress = self.progress.get(name)
            if progress is None:
                continue
            if name in refused:
                progress.nacked, progress.reason = version, (request.error or "refused without a reason")[:MAX_REASON]
            elif request.error is None:
                progress.acked = version
                if progress.nacked:
                    progress.nacked = progress.reason = ""

    @staticmethod
    def _named_in(batch: Mapping[str, str], error: str | None) -> list[str]:
        if error is None:
            return []
        return [name for name in batch if name in error] or list(batch)

    def _take_delta(self, request: Ask) -> set[str]:
        if self._first and not request.subscribe:
            self.wildcard = True
        self._named = self._named or bool(request.subscribe)
        for name, version in request.known.items() if self._first else ():
            self.progress[name] = Progress(version, acked=version)
        if WILDCARD in request.unsubscribe:
            self.wildcard = False
        for name in request.unsubscribe:
            self._forget(name)
        answer = set(request.subscribe)
        if not self._first:
            # A name subscribed again is sent again even if the client should still have it.
            for name in request.subscribe:
                self.progress.pop(name, None)
        if WILDCARD in request.subscribe or (self._first and self.wildcard):
            self.wildcard = True
            answer.add(WILDCARD)
        self.names |= request.subscribe - {WILDCARD}
        if self.wildcard:
            # What is still covered by the wildcard is answered when its own subscription ends.
            answer |= request.unsubscribe - {WILDCARD}
        return answer

    def _take_world(self, request: Ask) -> set[str]:
        wanted = set(request.subscribe)
        if not wanted and not self._named:
            self.wildcard = True
            return {WILDCARD} if self._first else set()
        self._named = True
        wildcard = WILDCARD in wanted
        wanted.discard(WILDCARD)
        fresh = wanted - self.names
        for name in self.names - wanted:
            self._forget(name)
        for name in fresh:
            self.progress.pop(name, None)
        answer = fresh | ({WILDCARD} if wildcard and not self.wildcard else set())
        self.names, self.wildcard = wanted, wildcard
        return answer

    def _forget(self, name: str) -> None:
        self.names.discard(name)
        self.missing.discard(name)
        self.progress.pop(name, None)
