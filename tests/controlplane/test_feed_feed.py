"""All kinds into one store: the version that is served, kinds that come and go, and one that cannot be read beside those that can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from controlplane.feed import health, reflector
from controlplane.feed.feed import Feed
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube import client
from controlplane.kube.client import Cluster
from tests.support import meshobjects as mo
from tests.support.kubeserver import GATEWAY, TCP_ROUTE, KubeServer, kube_server
from tests.support.parts import running
from tests.support.waiting import until

HTTP_ROUTES, POLICIES = f"/apis/{GATEWAY}/v1/httproutes", "/apis/tulle.dev/v1alpha1/peerauthentications"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(reflector, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.1)


@dataclass
class Fed:
    kube: KubeServer
    store: ObjectStore
    feed: Feed
    told: list[Ref]

    def names(self, kind: str) -> list[str]:
        return sorted(one["metadata"]["name"] for one in self.store.of(kind))

    def troubles(self) -> dict[str, str]:
        return dict(self.feed.troubles())

    def asked(self, path: str) -> int:
        return self.kube.requests.count(("GET", path))


@asynccontextmanager
async def following(kube: KubeServer) -> AsyncIterator[Fed]:
    """Begin to follow; nothing is waited for."""
    store, cluster, told = ObjectStore(), Cluster(kube.connection), []
    store.listen(told.append)
    feed = Feed(cluster, store, "tulle")
    try:
        async with running(feed):
            yield Fed(kube, store, feed, told)
    finally:
        await cluster.close()


@asynccontextmanager
async def fed(kube: KubeServer) -> AsyncIterator[Fed]:
    """Follow, and wait for what a start waits for."""
    async with following(kube) as found:
        await asyncio.wait_for(found.feed.learned(), 5)
        yield found


def tcp_route(name: str) -> dict[str, Any]:
    return {**mo.route(name, {"backendRefs": [mo.to("api")]}), "kind": "TCPRoute"}


async def test_kind_that_is_served_in_an_older_version_only_is_read_in_that() -> None:
    """A cluster with an old Gateway API serves TCPRoute as v1alpha2."""
    async with kube_server() as kube:
        kube.define(TCP_ROUTE, "v1alpha2")
        kube.put(tcp_route("old"))
        async with fed(kube) as found:
            assert found.names("TCPRoute") == ["old"]
            assert found.feed.api("TCPRoute") == f"{GATEWAY}/v1alpha2"


async def test_newest_version_that_can_be_read_is_taken_and_again_when_the_definition_changes() -> None:
    """An upgrade of Gateway API, and its undoing, are followed at once, and nobody sees an empty mesh in between."""
    async with kube_server() as kube:
        kube.define(TCP_ROUTE, "v1alpha2", also=("v1",))
        kube.put(tcp_route("a"))
        async with fed(kube) as found:
            found.told.clear()
            for versions, taken in (
                (("v1alpha2", "v1", "v2"), "v1"),
                (("v1", "v2"), "v1"),
                (("v1alpha2",), "v1alpha2"),
            ):
                kube.define(TCP_ROUTE, *versions)
                await until(lambda taken=taken: found.feed.api("TCPRoute") == f"{GATEWAY}/{taken}")
            kube.put(tcp_route("b"))
            await until(lambda: found.names("TCPRoute") == ["a", "b"])

    assert found.told == [Ref("TCPRoute", "shop", "b")]


async def test_kind_that_is_not_there_is_empty_and_known_to_be() -> None:
    """Gateway API may come after Tulle, and go before it."""
    async with kube_server() as kube, fed(kube) as found:
        assert not found.names("TCPRoute")
        assert not found.feed.missing()
        kube.define(TCP_ROUTE, "v1")
        kube.put(tcp_route("late"))
        await until(lambda: found.names("TCPRoute") == ["late"])
        kube.undefine("tcproutes")
        await until(lambda: not found.names("TCPRoute"))
        assert not found.troubles()


async def test_kind_is_followed_only_when_its_definition_is_established() -> None:
    """Before, the API server answers 404 for it."""
    async with kube_server() as kube:
        kube.define(TCP_ROUTE, "v1")
        definition = kube.get("customresourcedefinitions", "", f"tcproutes.{GATEWAY}") or {}
        kube.put({**definition, "kind": "CustomResourceDefinition", "status": {}})
        async with fed(kube) as found:
            assert found.feed.kinds["TCPRoute"].served == ""
            kube.define(TCP_ROUTE, "v1")
            await until(lambda: found.feed.kinds["TCPRoute"].served == "v1")


async def test_kind_that_is_served_in_no_version_we_read_says_so() -> None:
    """The sentence names what there is and what would do; the start is not held up, and what was read before stays until the kind goes."""
    async with kube_server() as kube:
        kube.define(TCP_ROUTE, "v3")
        async with fed(kube) as found:
            assert found.troubles() == {"TCPRoute": "it is served as v3, and can be read as v1, v1alpha2"}
            kube.define(TCP_ROUTE, "v1")
            kube.put(tcp_route("read"))
            await until(lambda: found.names("TCPRoute") == ["read"])
            kube.define(TCP_ROUTE, "v3")
            await until(found.troubles)
            assert found.names("TCPRoute") == ["read"]
            kube.undefine("tcproutes")
            await until(lambda: not found.names("TCPRoute") and not found.troubles())


@pytest.mark.parametrize("path", [HTTP_ROUTES, "/apis/apps/v1/daemonsets"])
async def test_broken_kind_leaves_the_others_working_and_is_not_waited_for_for_ever(path: str) -> None:
    """A conversion webhook that fails has every list of its kind fail."""
    async with kube_server() as kube:
        kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
        kube.put(mo.peer_authentication("p", "STRICT"))
        kube.failing["GET", path] = 500
        async with fed(kube) as found:
            kind = "HTTPRoute" if path == HTTP_ROUTES else "DaemonSet"
            assert found.names("PeerAuthentication") == ["p"]
            assert found.troubles() == {kind: "told to fail"}
            assert not found.feed.missing()
            kube.failing.clear()
            await until(lambda: found.names("HTTPRoute") == ["all"])
            await until(lambda: not found.troubles())


async def test_kind_without_which_serving_would_do_harm_is_waited_for_in_words() -> None:
    """A replica that does not know the policies would let in what they keep out."""
    async with kube_server() as kube:
        kube.failing["GET", POLICIES] = 500
        async with following(kube) as found:
            await until(lambda: found.troubles() and found.asked(POLICIES) > 20)
            assert found.feed.missing() == ["PeerAuthentication has not been listed: told to fail"]
            kube.failing.clear()
            await asyncio.wait_for(found.feed.learned(), 5)


async def test_what_was_read_of_a_kind_stays_when_it_breaks_later() -> None:
    """What held, holds."""
    async with kube_server() as kube:
        kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
        async with fed(kube) as found:
            kube.failing["GET", HTTP_ROUTES] = 500
            kube.cut()
            await until(found.troubles)
            kube.put(mo.peer_authentication("p", "STRICT"))
            await until(lambda: found.names("PeerAuthentication") == ["p"])
            assert found.names("HTTPRoute") == ["all"]


@pytest.mark.parametrize(("kind", "plural"), [("HTTPRoute", "httproutes"), ("Deployment", "deployments")])
async def test_deletion_that_nobody_watched_is_found(kind: str, plural: str) -> None:
    """The watch is down, the object goes, and its event is no longer kept when the watch is back."""
    async with kube_server() as kube:
        kube.put({**mo.route("gone", {"backendRefs": [mo.to("api")]}), "kind": kind})
        async with fed(kube) as found:
            assert found.names(kind) == ["gone"]
            kube.delete_unseen(plural, "shop", "gone")
            await until(lambda: not found.names(kind))


async def test_list_whose_rest_has_expired_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A continue token lives for some minutes; half a list is no list."""
    monkeypatch.setattr(client, "CHUNK", 1)
    async with kube_server() as kube:
        for name in ("a", "b", "c"):
            kube.put(mo.route(name, {"backendRefs": [mo.to("api")]}))
        kube.forgetful = True
        async with following(kube) as found:
            await until(lambda: found.asked(HTTP_ROUTES) > 4)
            assert not found.names("HTTPRoute")
            kube.forgetful = False
            await until(lambda: found.names("HTTPRoute") == ["a", "b", "c"])
            assert not found.troubles()


async def test_server_that_was_set_back_is_listed_anew() -> None:
    """Restored from a backup, it refuses a version that is still to come."""
    async with kube_server() as kube:
        kube.put(mo.route("a", {"backendRefs": [mo.to("api")]}))
        async with fed(kube) as found:
            kube.version -= 50
            kube.delete_unseen("httproutes", "shop", "a")
            kube.log.clear()
            kube.put(mo.route("b", {"backendRefs": [mo.to("api")]}))
            await until(lambda: found.names("HTTPRoute") == ["b"])


async def test_age_of_a_feed_is_the_time_since_it_was_heard_of() -> None:
    """What a dashboard asks: how old may that be which is served?"""
    async with kube_server() as kube, fed(kube) as found:
        pods = found.feed.kinds["Pod"]
        kube.failing["GET", "/api/v1/pods"] = 500
        kube.cut()
        await until(lambda: pods.age > 0.2)
        kube.failing.clear()
        await until(lambda: pods.age < 0.1)


async def test_change_of_what_nobody_reads_is_no_change() -> None:
    """A pod's conditions flip at each probe, a Deployment's status at each rollout; neither wakes anybody."""
    condition = {"type": "Ready", "status": "False"}
    pod = {"kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "p"}}, "spec": {}}
    deployment = {**mo.route("d", {}), "kind": "Deployment", "status": {}}
    async with kube_server() as kube:
        kube.put({**pod, "status": {"phase": "Running", "podIP": "10.0.0.1"}})
        kube.put(deployment)
        async with fed(kube) as found:
            found.told.clear()
            kube.put({**pod, "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]}})
            kube.put({**deployment, "status": {"replicas": 3}})
            relabelled = {**pod["metadata"], "labels": {"app": "p", "team": "x"}}
            kube.put({**pod, "metadata": relabelled, "status": {"phase": "Running", "podIP": "10.0.0.1"}})
            kube.put({**pod, "status": {"phase": "Running", "podIP": "10.0.0.2"}})
            await until(lambda: found.told)

    assert found.told == [Ref("Pod", "shop", "p")]
