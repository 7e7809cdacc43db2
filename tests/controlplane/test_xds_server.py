"""The ADS shell over real gRPC: on demand, pushed later, refused in sentences, ended gracefully."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import weakref
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from controlplane import reports
from controlplane.bounds import Bound, Who
from controlplane.ca.tokens import Caller
from controlplane.resources.build import Client, build
from controlplane.timing import Collector
from controlplane.xds.callers import contract_of
from controlplane.xds.messages import Node
from meshapi import protos, records, xds
from meshapi.identity import Identity
from meshapi.xds import Type
from tests.support import meshobjects as mo
from tests.support.adsserver import DeltaClient, connected, names_of, served
from tests.support.callcontext import SlowCall
from tests.support.waiting import until

WEB = "outbound/10.96.0.1:80"


async def test_names_are_answered_as_they_are_asked_for() -> None:
    """A listener and what it refers to come by name; the trust bundle too."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)

        assert names_of(await client.ask(Type.SECRET, xds.TRUST_BUNDLE)) == ["trust"]
        assert names_of(await client.ask(Type.LISTENER, "inbound/shop/web-1", WEB)) == ["inbound/shop/web-1", WEB]
        assert names_of(await client.ask(Type.ROUTES, "shop/web:80")) == ["shop/web:80"]
        assert names_of(await client.ask(Type.CLUSTER, "shop/web:80")) == ["shop/web:80"]
        assert names_of(await client.ask(Type.ENDPOINTS, "shop/web:80")) == ["shop/web:80"]


async def test_unknown_name_is_answered_at_once_and_pushed_when_it_comes_into_being() -> None:
    """The sidecar passes the connection through now, and takes it over later."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        answer = await client.ask(Type.LISTENER, "outbound/10.96.0.9:80")
        held.apply(mo.service("later", "10.96.0.9", mo.HTTP))
        pushed = await client.take()

    assert list(answer.removed_resources) == ["outbound/10.96.0.9:80"]
    assert names_of(pushed) == ["outbound/10.96.0.9:80"]


async def test_endpoint_change_reaches_only_who_is_subscribed_and_alone() -> None:
    """Nothing but the load assignment travels, and only to the stream that has it."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        await client.ask(Type.CLUSTER, "shop/web:80")
        await client.ask(Type.ENDPOINTS, "shop/web:80", "shop/api:80")
        held.apply(mo.pod("web-2", "10.0.0.8"))
        before = held.hub.pushes
        held.apply(mo.endpoint_slice("web", mo.endpoint("web-1", "10.0.0.1"), mo.endpoint("web-2", "10.0.0.8")))
        pushed = await client.take()
        held.apply(mo.endpoint_slice("unheard-of", mo.endpoint("web-1", "10.0.0.1")))

        assert (pushed.type_url, names_of(pushed)) == (Type.ENDPOINTS.url, ["shop/web:80"])
        assert held.hub.pushes - before == 1


async def test_removed_service_is_told_listener_first_and_cluster_last() -> None:
    """Nothing refers to a cluster any more when it goes."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        await client.ask(Type.CLUSTER, "shop/web:80")
        await client.ask(Type.ENDPOINTS, "shop/web:80")
        await client.ask(Type.LISTENER, WEB)
        held.remove("Service", "shop", "web")
        order = [await client.take() for _ in range(3)]

    assert [Type(one.type_url) for one in order] == [Type.LISTENER, Type.CLUSTER, Type.ENDPOINTS]
    assert [list(one.removed_resources) for one in order] == [[WEB], ["shop/web:80"], ["shop/web:80"]]


async def test_reconnect_with_known_versions_is_answered_with_what_differs_only() -> None:
    """Resuming costs what changed in the meantime, and names that are gone are told."""
    async with served() as held, connected(held) as channel:
        first = await DeltaClient(channel).ask(Type.CLUSTER, "shop/web:80", "shop/api:80")
        versions = {one.name: one.version for one in first.resources}
        again = DeltaClient(channel)
        await again.send(
            Type.CLUSTER,
            resource_names_subscribe=["shop/web:80", "shop/api:80", "shop/gone:80"],
            initial_resource_versions={**versions, "shop/api:80": "old", "shop/gone:80": "1"},
        )
        answer = await again.take()

    assert names_of(answer) == ["shop/api:80"]
    assert list(answer.removed_resources) == ["shop/gone:80"]


async def test_nack_is_logged_once_shown_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The sentence stands in the log and in the subscription; the stream goes on."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        for _ in range(2):
            await client.send(Type.CLUSTER, resource_names_subscribe=["shop/web:80"])
            answer = await client.receive()
            detail = {"code": 3, "message": "shop/web:80: lb_policy is odd"}
            await client.send(Type.CLUSTER, response_nonce=answer.nonce, error_detail=detail)
        assert names_of(await client.ask(Type.ENDPOINTS, "shop/web:80")) == ["shop/web:80"]
        (stream,) = held.hub.streams
        progress = stream.conversation.subscriptions[Type.CLUSTER].progress["shop/web:80"]

    lines = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert lines == ["shop/web-1 refused CLUSTER shop/web:80: shop/web:80: lb_policy is odd"]
    assert progress.reason == "shop/web:80: lb_policy is odd"


async def test_what_a_sidecar_says_of_itself_anew_is_shown() -> None:
    """Fields it passed over, which it knows once it has them; what it was admitted as stays."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel, **{xds.NODE_CONTRACT: "1"})
        await client.ask(Type.LISTENER, "inbound/shop/web-1")
        (stream,) = held.hub.streams
        before = stream.peer
        node = {"id": "web-1.shop", "metadata": {xds.NODE_PASSED: "a.B.c,a.B.d"}}
        await client.send(Type.SECRET, resource_names_subscribe=[xds.TRUST_BUNDLE], node=node)
        await client.receive()
        shown = reports._proxy(SimpleNamespace(certificates=SimpleNamespace(expires={})), stream)  # type: ignore[arg-type]

    assert (before.passed_over, stream.peer.identity) == ("", before.identity)
    assert shown["passed_over"] == ["a.B.c", "a.B.d"]


@pytest.mark.parametrize(
    ("agent", "said", "level"),
    [
        (xds.SIDECAR_AGENT, {}, 0),
        (xds.SIDECAR_AGENT, {"contract": "0"}, 0),
        (xds.SIDECAR_AGENT, {"contract": str(xds.CONTRACT)}, xds.CONTRACT),
        (xds.SIDECAR_AGENT, {"contract": "999"}, xds.CONTRACT),
        (xds.SIDECAR_AGENT, {"contract": "9" * 5000}, 0),
        (xds.SIDECAR_AGENT, {"contract": "new"}, 0),
        ("envoy", {}, xds.CONTRACT),
        ("gRPC Go", {"contract": "0"}, xds.CONTRACT),
    ],
)
def test_sidecar_is_written_no_more_than_it_says_it_reads(agent: str, said: dict[str, str], level: int) -> None:
    """One that says nothing is older than the word; other clients know Envoy's messages."""
    assert contract_of(Node(id="web-1.shop", user_agent=agent, metadata=dict(said))) == level


async def test_unserved_type_is_answered_with_nothing() -> None:
    """A client that asks for what nobody serves is not left waiting."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        await client.send("type.googleapis.com/envoy.service.runtime.v3.Runtime", resource_names_subscribe=["r"])
        answer = await client.receive()

    assert list(answer.removed_resources) == ["r"]


@pytest.mark.parametrize(
    ("node", "code", "words"),
    [
        ("nonsense", grpc.StatusCode.INVALID_ARGUMENT, "not of the form <pod>.<namespace>"),
        ("api-1.shop", grpc.StatusCode.PERMISSION_DENIED, "token is for pod shop/web-1"),
        ("web-1.bank", grpc.StatusCode.PERMISSION_DENIED, "is not the caller's"),
    ],
)
async def test_node_that_is_not_the_callers_is_refused(
    node: str, code: grpc.StatusCode, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody gets another pod's configuration, and is told why; one line is logged."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel, node)
        await client.send(Type.SECRET, resource_names_subscribe=["trust"])
        status = await client.ended()

    assert status[0] is code
    assert words in status[1]
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


async def test_pod_under_another_account_is_refused() -> None:
    """An unbound token opens only pods of its own account."""
    async with served() as held, connected(held) as channel:
        held.caller = Caller(identity=Identity(trust_domain="cluster.local", namespace="shop", account="thief"))
        client = DeltaClient(channel)
        await client.send(Type.SECRET, resource_names_subscribe=["trust"])
        code, words = await client.ended()

    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "runs as service account 'web'" in words


async def test_pod_the_watch_has_not_shown_yet_is_waited_for() -> None:
    """A sidecar may be faster than the news of its pod."""
    async with served() as held, connected(held) as channel:
        held.caller = dataclasses.replace(held.caller, pod="web-2")
        client = DeltaClient(channel, "web-2.shop")
        await client.send(Type.SECRET, resource_names_subscribe=["trust"])
        asyncio.get_running_loop().call_later(0.05, held.apply, mo.pod("web-2", "10.0.0.9"))

        assert names_of(await client.take()) == ["trust"]


async def test_garbage_ends_the_stream_with_a_sentence_and_nothing_else() -> None:
    """Bytes that are no request cost their own stream only."""
    async with served() as held, connected(held) as channel:
        good, bad = DeltaClient(channel), DeltaClient(channel)
        await good.ask(Type.SECRET, "trust")
        await bad.raw(b"\xff\xff\xff garbage")
        code, words = await bad.ended()

        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "no discovery request" in words
        assert names_of(await good.ask(Type.CLUSTER, "shop/web:80")) == ["shop/web:80"]


async def test_client_that_hangs_up_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled stream is forgotten without a complaint."""
    async with served() as held:
        async with connected(held) as channel:
            await DeltaClient(channel).ask(Type.SECRET, "trust")
            assert len(held.hub.streams) == 1
        await until(lambda: not held.hub.streams)
        assert held.source.sizes() == {"resources": 0, "inputs": 0}

    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_stream_that_ends_is_freed_though_the_collector_no_longer_looks_at_it() -> None:
    """What is settled is freed by its counts alone: a cycle would stay for as long as the process lives, and be as large as what the stream asked for."""
    async with served() as held:
        async with connected(held) as channel:
            await DeltaClient(channel).ask(Type.SECRET, "trust")
            (stream,) = held.hub.streams
            freed = asyncio.Event()
            weakref.finalize(stream.conversation, freed.set)
            del stream
            Collector.settle()
        try:
            await until(freed.is_set)
        finally:
            gc.unfreeze()


async def test_reused_address_leads_to_the_pod_that_has_it_now() -> None:
    """A port nobody declared, let go while the pod behind the address changed, is not answered with the dead pod's cluster."""
    name = "outbound/10.0.0.9:9999"
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        held.apply(mo.pod("old-1", "10.0.0.9"))
        first = await client.ask(Type.LISTENER, "inbound/shop/web-1", name)
        assert b"pod/shop/old-1:9999" in first.SerializeToString()
        await client.send(Type.LISTENER, resource_names_unsubscribe=[name])
        await client.ask(Type.SECRET, "trust")
        held.remove("Pod", "shop", "old-1")
        held.apply(mo.pod("new-1", "10.0.0.9"))
        second = (await client.ask(Type.LISTENER, name)).SerializeToString()
        assert b"pod/shop/new-1:9999" in second
        assert b"old-1" not in second
        held.apply(mo.pod("new-1", "10.0.0.9", mesh=False))

        assert list((await client.take()).removed_resources) == [name]


async def test_pod_of_the_same_name_gets_the_clusters_of_its_own_ports() -> None:
    """A StatefulSet's pod that comes back speaking something else is not served what its predecessor was."""
    grpc_port = {"name": "grpc", "port": 80}
    async with served() as held:
        async with connected(held) as channel:
            before = await DeltaClient(channel).ask(Type.CLUSTER, "inbound:8080")
        await until(lambda: not held.hub.streams)
        held.remove("Pod", "shop", "web-1")
        held.apply(
            mo.service("web", "10.96.0.1", grpc_port),
            mo.endpoint_slice("web", mo.endpoint("web-1", "10.0.0.1"), ports={"grpc": 8080}),
        )
        held.apply(mo.pod("web-1", "10.0.0.1"))
        truth = build(held.source.snapshot, Type.CLUSTER, "inbound:8080", Client(namespace="shop", pod="web-1"))
        async with connected(held) as channel:
            after = await DeltaClient(channel).ask(Type.CLUSTER, "inbound:8080")

    assert truth is not None
    assert after.resources[0].version == truth.version != before.resources[0].version


async def test_drain_ends_streams_with_ok_and_refuses_new_ones() -> None:
    """Sidecars are sent to other replicas without an error."""
    async with served() as held, connected(held) as channel:
        client = DeltaClient(channel)
        await client.ask(Type.SECRET, "trust")
        await held.hub.drain(0.3)
        code, _ = await client.ended()
        late, _ = await DeltaClient(channel).ended()

        assert (code, late) == (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    assert not held.hub.streams


async def test_hint_ends_when_the_pods_that_used_it_let_it_go() -> None:
    """And lives on when their streams end: the workload is only made anew."""
    api, web = "outbound/10.96.0.2:80", "outbound/10.96.0.1:80"
    async with served() as held:
        async with connected(held) as channel:
            client = DeltaClient(channel)
            await client.ask(Type.LISTENER, api, web)
            await client.send(Type.LISTENER, resource_names_unsubscribe=[web])
            await client.ask(Type.SECRET, "trust")
        async with connected(held) as channel:
            answer = await DeltaClient(channel).ask(Type.LISTENER, "inbound/shop/web-1")

    assert hinted(answer) == [api]


def hinted(answer: Any) -> list[str]:
    """The hint of an inbound listener."""
    return list(protos.unpack(answer.resources[0].resource).metadata.filter_metadata["tulle.dev"]["warm"])


async def test_next_pod_of_a_workload_is_offered_what_the_first_one_used() -> None:
    """The inbound listener's `warm` list names destinations that exist, and only those."""
    owner = [{"kind": "ReplicaSet", "name": "web-5d4", "controller": True}]
    pods = [
        mo.pod(name, ip, labels={"pod-template-hash": "5d4"}, ownerReferences=owner)
        for name, ip in (("web-1", "10.0.0.1"), ("web-2", "10.0.0.8"))
    ]
    async with served() as held, connected(held) as channel:
        held.apply(*pods)
        await DeltaClient(channel).ask(Type.LISTENER, "outbound/10.96.0.2:80", "outbound/1.2.3.4:5")
        held.caller = dataclasses.replace(held.caller, pod="web-2")
        answer = await DeltaClient(channel, "web-2.shop").ask(Type.LISTENER, "inbound/shop/web-2")

    assert hinted(answer) == ["outbound/10.96.0.2:80"]


async def test_pod_with_many_streams_is_refused_another_and_its_neighbour_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One pod cannot use up a replica; what it closes it may open again."""
    monkeypatch.setattr("controlplane.xds.server.STREAMS", Bound(pod=2, node=100))
    async with served() as held, connected(held) as channel:
        first, second = DeltaClient(channel), DeltaClient(channel)
        for client in (first, second):
            await client.ask(Type.SECRET, xds.TRUST_BUNDLE)
        third = DeltaClient(channel)
        await third.send(Type.SECRET)
        code, words = await third.ended()
        held.caller = Caller(identity=records.replace(held.caller.identity, account="api"), pod="api-1")
        other = DeltaClient(channel, "api-1.shop")
        assert names_of(await other.ask(Type.SECRET, xds.TRUST_BUNDLE)) == ["trust"]
        assert len(held.hub.held) == 3  # two pods and their node
        await first.cancel()
        await until(lambda: len(held.hub.streams) == 2)
        held.caller = Caller(identity=records.replace(held.caller.identity, account="web"), pod="web-1")
        again = DeltaClient(channel)
        assert names_of(await again.ask(Type.SECRET, xds.TRUST_BUNDLE)) == ["trust"]

    assert (code, words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "pod shop/web-1 may have 2 streams at once")


async def test_names_of_all_streams_of_a_pod_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many streams that each ask for a little are one pod that asks for a lot; an end gives everything back."""
    monkeypatch.setattr("controlplane.xds.server.NAMES", Bound(pod=10, node=100))
    async with served() as held, connected(held) as channel:
        first, second = DeltaClient(channel), DeltaClient(channel)
        await first.ask(Type.LISTENER, *(f"outbound/10.96.1.{number}:80" for number in range(6)))
        await second.send(
            Type.LISTENER, resource_names_subscribe=[f"outbound/10.96.2.{number}:80" for number in range(5)]
        )
        code, words = await second.ended()
        await until(lambda: len(held.hub.streams) == 1)
        await first.send(Type.LISTENER, resource_names_unsubscribe=["outbound/10.96.1.0:80"])
        third = DeltaClient(channel)
        await third.ask(Type.CLUSTER, *(f"shop/no-{number}:80" for number in range(5)))
        await first.cancel()
        await third.cancel()
        await until(lambda: not held.hub.streams)

    assert (code, words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "pod shop/web-1 may have 10 subscribed names at once")
    assert (len(held.hub.names), len(held.hub.held), len(held.hub.opening)) == (0, 0, 0)


async def test_streams_that_say_nothing_are_bounded_by_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else half a minute of silence, many times over, would keep everybody else out."""
    monkeypatch.setattr("controlplane.xds.server.STREAMS", Bound(pod=2, node=100))
    async with served() as held, connected(held) as channel:
        held.hub._origin = lambda _: Who("shop", "web-1", "node-1")
        silent = [DeltaClient(channel) for _ in range(2)]
        for client in silent:
            await client.begin()
        await until(lambda: len(held.hub.opening) == 2)
        code, words = await DeltaClient(channel).ended()

    assert (code, words.partition(" may have")[0]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "pod shop/web-1")


async def test_client_that_reads_slowly_is_heard_and_answered_in_order() -> None:
    """Its acknowledgement counts while a push is still being written; what it asks for meanwhile is answered after that."""
    async with served() as held:
        handler: Any = held.hub.handlers().service(SimpleNamespace(method=xds.ADS_DELTA))  # type: ignore[arg-type]
        call = SlowCall()
        serving = asyncio.ensure_future(handler.stream_stream(None, call))
        call.say(Type.ENDPOINTS, resource_names_subscribe=["shop/web:80"])
        await until(lambda: call.written)
        call.reading.clear()
        held.apply(mo.pod("web-2", "10.0.0.8"))
        held.apply(mo.endpoint_slice("web", mo.endpoint("web-1", "10.0.0.1"), mo.endpoint("web-2", "10.0.0.8")))
        await until(lambda: call.begun == 2)
        (stream,) = held.hub.streams
        known = stream.conversation.subscriptions[Type.ENDPOINTS]
        call.say(Type.ENDPOINTS, response_nonce="1")
        call.say(Type.ENDPOINTS, resource_names_subscribe=["shop/web:80"])
        await until(lambda: known.unacknowledged == "2")
        assert call.begun == 2
        call.reading.set()
        await until(lambda: len(call.written) == 3)
        call.leave()
        await serving

    assert [one.nonce for one in call.written] == ["1", "2", "3"]
