"""Everything that happens between the API server and the store, in any order: when all is mended, the store is what the cluster is.

Objects come, change and go; watches are cut, held up and compacted away; lists expire half-way; kinds break and mend, in any order to each other; definitions
come, go and change their versions; the control plane starts anew. After a while without trouble the store must equal the cluster, whoever listened to the store must
know as much, and the snapshot published by that must be one made from nothing. While a kind is broken all others must be right, and it must be as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.compiler.passes import compile_mesh
from controlplane.feed import discovery
from controlplane.feed.discovery import ServedVersion, newest
from controlplane.feed.feed import CustomKind, Feed
from controlplane.feed.kinds import FEED, Kind, kind_of
from controlplane.feed.objects import ObjectStore, Ref, ref_of
from controlplane.feed.reflector import Reflector
from controlplane.ingest.assemble import ingest
from controlplane.kube.client import ApiError
from controlplane.xds.publisher import Publisher
from controlplane.xds.source import Source
from tests.support import meshobjects as mo
from tests.support.feeding import shaped
from tests.support.feedserver import FeedServer
from tests.support.machines import bounded, finds, within
from tests.support.virtual import virtual_time

LONG = 120.0
"""Seconds, of virtual time, in which everything mends."""
NAMES = ("a-1", "b-1", "c-1")
CUSTOM = tuple(kind_of(name) for name in ("HTTPRoute", "TCPRoute", "PeerAuthentication"))
DRAWN = (*CUSTOM, *(kind_of(name) for name in ("Pod", "Service", "EndpointSlice", "Deployment")))
UNREADABLE = "v99"
offers = st.just(()) | st.just((None,)) | st.sampled_from(((0,), (-1,), (0, -1), (None, -1)))
"""What a definition may offer: versions by their place, None for one that cannot be read. Nothing, nothing readable, or something, each as often."""
kinds = st.sampled_from(DRAWN)
numbers = st.integers(0, 2)


def made(kind: Kind, name: str, number: int) -> dict[str, Any]:
    """An object in one of three forms, of which the last two differ in nothing that is read."""
    form = min(number, 1)
    objects: dict[str, mo.Object] = {
        "HTTPRoute": mo.route(name, {"backendRefs": [mo.to("a-1", weight=form + 1)]}, parent="b-1"),
        "TCPRoute": mo.route(name, {"backendRefs": [mo.to("a-1", weight=form + 1)]}, kind="TCPRoute"),
        "PeerAuthentication": mo.peer_authentication(name, ("STRICT", "DISABLE")[form]),
        "Pod": mo.pod(name, f"10.0.0.{form + 1}"),
        "Service": mo.service(name, f"10.96.0.{form + 1}", mo.HTTP),
        "EndpointSlice": mo.endpoint_slice(name[:1] + "-1", mo.endpoint("a-1", f"10.0.0.{form + 1}")),
        "Deployment": {**mo.route(name, {}), "kind": "Deployment", "spec": {"template": {"metadata": {}}}},
    }
    obj = objects[kind.name]
    obj["metadata"]["managedFields"] = [{"manager": f"m{number}"}]
    return obj


class Feeding(RuleBasedStateMachine):
    """A cluster, and a control plane that follows it."""

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as owned:
            self.loop = owned.enter_context(virtual_time())
            self.server = FeedServer()
            self.ever: dict[str, list[dict[str, Any]]] = {}
            """Every form that was ever there, by kind."""
            for kind in FEED:
                if kind.custom:
                    self.server.define(kind, kind.versions[:1])
            self._start()
            self.owned = owned.pop_all()

    def _start(self) -> None:
        self.store, self.source = ObjectStore(), Source()
        self.publisher = Publisher(self.store, self.source, trust_domain="cluster.local", roots=lambda: "")
        self.known: dict[Ref, dict[str, Any] | None] = {}
        """What a listener knows who looks at what it is told of."""
        self.store.listen(lambda ref: self.known.update({ref: self.store.get(ref.kind, ref.namespace, ref.name)}))

        async def begin() -> asyncio.Task[None]:
            self.feed = Feed(cast("Any", self.server), self.store, "tulle")
            return asyncio.ensure_future(self.feed.run())

        self.task = self.loop.run_until_complete(begin())

    def _end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.task)

    def teardown(self) -> None:
        with self.owned:
            self._end()

    def _pass(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @initialize(there=st.booleans())
    def cluster(self, there: bool) -> None:
        """Most begins where there is something already."""
        for kind in DRAWN if there else ():
            for name in NAMES:
                self._put(kind, made(kind, name, 0))

    def _put(self, kind: Kind, obj: dict[str, Any]) -> None:
        self.ever.setdefault(kind.name, []).append(shaped(obj))
        self.server.put(kind.plural, obj)

    @rule(kind=kinds, name=st.sampled_from(NAMES), number=numbers)
    def put(self, kind: Kind, name: str, number: int) -> None:
        if self.server.served.get(kind.plural):
            self._put(kind, made(kind, name, number))

    @rule(kind=kinds, name=st.sampled_from(NAMES))
    def delete(self, kind: Kind, name: str) -> None:
        found = [place for place in self.server.objects[kind.plural] if place[1].startswith(name[:1])]
        for place in found[:1]:
            self.server.delete(kind.plural, place)

    @rule(kind=kinds, name=st.sampled_from(NAMES))
    def delete_while_nobody_watches(self, kind: Kind, name: str) -> None:
        """And compact: no watch will ever tell."""
        self.delete(kind, name)
        self.server.forget(kind.plural)
        self.server.cut()

    @rule(kind=st.sampled_from(CUSTOM), offered=offers)
    def define(self, kind: Kind, offered: tuple[int | None, ...]) -> None:
        versions = {UNREADABLE if at is None else kind.versions[at] for at in offered}
        self.server.define(kind, tuple(sorted(versions)))

    @rule(kind=st.sampled_from(CUSTOM), offered=offers, then=offers, mended=st.booleans())
    def define_twice(
        self, kind: Kind, offered: tuple[int | None, ...], then: tuple[int | None, ...], mended: bool
    ) -> None:
        """An upgrade that is taken in, and then another, before and after which all may be well."""
        self.define(kind, offered)
        if mended:
            self.all_is_mended()
        else:
            self._pass(1.0)
        self.define(kind, then)
        if mended:
            self.all_is_mended()

    @rule()
    def cut(self) -> None:
        self.server.cut()

    @rule(kind=kinds)
    def compacted(self, kind: Kind) -> None:
        self.server.forget(kind.plural)

    @rule(kind=kinds, trouble=st.sampled_from(("broken", "held", "forgetful")), lasts=st.sampled_from((0.0, 1.0)))
    def trouble_begins(self, kind: Kind, trouble: str, lasts: float) -> None:
        """And is met, or not yet."""
        getattr(self.server, trouble).add(kind.plural)
        if trouble == "forgetful":
            self.server.forget(kind.plural)
        if trouble != "held":
            self.server.cut()
        self._pass(lasts)

    @rule(kind=kinds, trouble=st.sampled_from(("broken", "held", "forgetful")))
    def trouble_ends(self, kind: Kind, trouble: str) -> None:
        getattr(self.server, trouble).discard(kind.plural)
        self.server.wake()

    @rule(seconds=st.sampled_from((0.0, 0.01, 1.0, 40.0)))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule()
    def control_plane_starts_anew(self) -> None:
        self._end()
        self._start()

    @rule()
    def all_is_mended(self) -> None:
        for trouble in (self.server.broken, self.server.held, self.server.forgetful):
            trouble.clear()
        self.server.wake()
        self._pass(LONG)
        for kind in FEED:
            self._is_right(kind)
        unread = {kind.name for kind in FEED if self._offered(kind) and not self._version(kind)}
        assert {kind for kind, _ in self.feed.troubles()} == unread
        assert all(words.split()[0] in unread for words in self.feed.missing())
        self._is_published()

    @precondition(lambda self: self.server.broken)
    @rule()
    def others_are_mended(self) -> None:
        """One kind stays broken, and is as it was: what it holds was there once."""
        kept = min(self.server.broken)
        self.server.broken &= {kept}
        self.server.held.clear()
        self.server.forgetful.clear()
        self.server.wake()
        self._pass(LONG)
        for kind in FEED:
            if kind.plural != kept:
                self._is_right(kind)
        self._is_published()

    @invariant()
    def nothing_is_invented(self) -> None:
        for kind in DRAWN:
            for obj in self.store.of(kind.name):
                assert obj in self.ever[kind.name]

    def _offered(self, kind: Kind) -> tuple[str, ...]:
        return self.server.served.get(kind.plural, ())

    def _version(self, kind: Kind) -> str:
        return newest(kind, self._offered(kind))

    def _is_right(self, kind: Kind) -> None:
        if self._offered(kind) and not self._version(kind):
            return  # what was read before stays
        there = {place: shaped({**obj, "kind": kind.name}) for place, obj in self.server.objects[kind.plural].items()}
        held = {
            (one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in self.store.of(kind.name)
        }
        assert held == there, kind.name
        told = {(ref.namespace, ref.name): obj for ref, obj in self.known.items() if ref.kind == kind.name and obj}
        assert told == held, kind.name
        assert self.feed.kinds[kind.name].served == self._version(kind)

    def _is_published(self) -> None:
        async def publish() -> None:
            self.publisher.publish()

        self.loop.run_until_complete(publish())
        assert self.source.snapshot == compile_mesh(ingest(self.store), roots=b"")


TestFeeding = within(240)(Feeding.TestCase)
TestFeeding.settings = bounded(500, 40)


async def _deaf(server: FeedServer, path: str, params: Any, silence: float) -> Any:
    """Take 410 Gone for the end of a watch."""
    async for line in WATCH(server, path, params, silence):
        if b'"ERROR"' not in line:
            yield line


async def _half(server: FeedServer, path: str, params: Any) -> Any:
    """Take a list whose rest has expired for a whole one."""
    with contextlib.suppress(ApiError):
        async for page in PAGES(server, path, params):
            yield page


def _once(version: ServedVersion, offered: tuple[str, ...]) -> None:
    """Look at the definition when it is seen first, and never again."""
    if version.chosen is None:
        CHOOSE(version, offered)


def _blurred(version: ServedVersion, offered: tuple[str, ...]) -> None:
    """Take a kind that is gone for one that is served in no version that can be read, as before."""
    chosen, version.offered = newest(version._kind, offered), offered
    if chosen != version.chosen:
        version.chosen = chosen
        version.changed.set()


def _silent(store: ObjectStore, kind: str, namespace: str, name: str) -> None:
    """Remove, and tell nobody."""
    store._kinds.get(kind, {}).pop((namespace, name), None)


async def _clinging(kind: CustomKind, version: str) -> None:
    """Keep what was read of a kind that is uninstalled."""
    if version:
        await FOLLOW(kind, version)
    kind.health.listed("")


def _stubborn(store: ObjectStore, kind: str, obj: dict[str, Any]) -> bool:
    """Take in an object once."""
    ref = ref_of(kind, obj)
    return store.get(*ref) is None and APPLY(store, kind, obj)


def _raising(_: Reflector, error: Exception) -> None:
    raise error


WATCH, PAGES, CHOOSE = FeedServer.watch, FeedServer.pages, ServedVersion._choose
FOLLOW, APPLY = CustomKind._follow, ObjectStore.apply
DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "410 Gone is passed over": (FeedServer, "watch", _deaf),
    "half a list is taken for one": (FeedServer, "pages", _half),
    "a list takes nothing away": (ObjectStore, "retain", lambda *_: None),
    "a removal is told to nobody": (ObjectStore, "remove", _silent),
    "a change is passed over": (ObjectStore, "apply", _stubborn),
    "what was uninstalled stays": (CustomKind, "_follow", _clinging),
    "unreadable is taken for gone": (ServedVersion, "_choose", _blurred),
    "a definition is looked at once": (ServedVersion, "_choose", _once),
    "one broken kind ends all": (Reflector, "_failed", _raising),
    "the oldest version is taken": (
        discovery,
        "newest",
        lambda kind, offered: newest(replace(kind, versions=kind.versions[::-1]), offered),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_machine_finds(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is put in, and the machine fails."""
    where, what, instead = DEFECTS[defect]
    monkeypatch.setattr(where, what, instead)
    with pytest.raises((AssertionError, ExceptionGroup)):
        finds(Feeding, 300, 40)
