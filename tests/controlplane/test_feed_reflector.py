"""The feed from the API server: lists in chunks, watches that resume, and every way they break."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from controlplane.feed import reflector as module
from controlplane.feed.kinds import kind_of
from controlplane.feed.objects import ObjectStore
from controlplane.feed.reflector import Reflector
from controlplane.kube import client
from controlplane.kube.client import ApiError, Cluster, path_of
from controlplane.kube.connect import Connection
from meshapi.names import PRESTOP_SECONDS
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.parts import running
from tests.support.waiting import until

POD = kind_of("Pod")


def pod(name: str, ip: str = "10.0.0.1") -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web"},
            "annotations": {"tulle.dev/opaque-ports": "25", "checksum/config": "x" * 100},
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "i", "env": [], "ports": [{"containerPort": 80}]}],
            "initContainers": [{"name": "tulle-proxy", "image": "i", "restartPolicy": "Always"}],
            "volumes": [{"name": "v"}],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "containerStatuses": []},
    }


@asynccontextmanager
async def following(kube: KubeServer) -> AsyncIterator[tuple[ObjectStore, Reflector]]:
    store, cluster = ObjectStore(), Cluster(kube.connection)
    reflector = Reflector(cluster, POD, store)
    try:
        async with running(reflector):
            await asyncio.wait_for(reflector.health.synced.wait(), 5)
            yield store, reflector
    finally:
        await cluster.close()


def names(store: ObjectStore) -> list[str]:
    return sorted(one["metadata"]["name"] for one in store.of("Pod"))


async def test_objects_are_kept_with_the_fields_ingest_reads_and_no_others() -> None:
    """Memory is for what the mesh needs; foreign annotations and versions are not."""
    async with kube_server() as kube:
        kube.put(pod("a"))
        async with following(kube) as (store, _):
            held = store.get("Pod", "shop", "a")

    assert msgspec.json.decode(msgspec.json.encode(held)) == {
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "labels": {"app": "web"},
            "annotations": {"tulle.dev/opaque-ports": "25"},
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "ports": [{"containerPort": 80}]}],
            "initContainers": [{"name": "tulle-proxy"}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    }


async def test_long_list_is_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large cluster is not read in one answer."""
    monkeypatch.setattr(client, "CHUNK", 3)
    async with kube_server() as kube:
        for number in range(8):
            kube.put(pod(f"p{number}"))
        async with following(kube) as (store, _):
            assert len(names(store)) == 8
        lists = [1 for method, path in kube.requests if (method, path) == ("GET", "/api/v1/pods")]

    assert len(lists) >= 3


class Unreadable(Cluster):
    """A server whose watches begin, from one version on, with something that cannot be read."""

    def __init__(self, connection: Connection, line: bytes, version: str) -> None:
        super().__init__(connection)
        self.line, self.version, self.met = line, version, 0

    async def watch(self, path: str, params: Mapping[str, str], silence: float) -> AsyncIterator[bytes]:
        if params["resourceVersion"] == self.version:
            self.met += 1
            yield b""
            yield self.line
        async for line in super().watch(path, params, silence):
            yield line


class Poisoned(ObjectStore):
    """A sink with a defect: it cannot take one object for a while."""

    left = 2

    def apply(self, kind: str, obj: dict[str, Any], /) -> bool:
        if obj["metadata"]["name"] == "poison" and self.left:
            self.left -= 1
            raise KeyError("spec")
        return super().apply(kind, obj)


@pytest.mark.parametrize("listed", [True, False])
async def test_defect_in_taking_an_object_ends_no_feed(listed: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It would end the process, and the next one by the same object. The kind is listed again, so nothing is missed."""
    async with kube_server() as kube:
        if listed:
            kube.put(pod("poison"))
        cluster, store = Cluster(kube.connection), Poisoned()
        async with running(Reflector(cluster, POD, store)) as task:
            if not listed:
                await until(lambda: ("GET", "/api/v1/pods") in kube.requests)
                kube.put(pod("poison"))
            kube.put(pod("a"))
            await until(lambda: task.done() or names(store) == ["a", "poison"], 10)
            assert not task.done()
        await cluster.close()

    assert "KeyError: 'spec'" in caplog.text


async def test_changes_arrive_by_watch() -> None:
    """Added, modified and deleted."""
    async with kube_server() as kube, following(kube) as (store, _):
        kube.put(pod("a"))
        await until(lambda: names(store) == ["a"])
        kube.put(pod("a", "10.0.0.2"))
        await until(lambda: (store.get("Pod", "shop", "a") or {})["status"]["podIP"] == "10.0.0.2")
        kube.delete("pods", "shop", "a")
        await until(lambda: names(store) == [])


async def test_cut_watch_resumes_without_a_list() -> None:
    """Nothing that happened in between is missed, and nothing is read twice."""
    async with kube_server() as kube, following(kube) as (store, reflector):
        kube.put(pod("a"))
        await until(lambda: names(store) == ["a"])
        kube.cut()
        kube.put(pod("b"))
        await until(lambda: names(store) == ["a", "b"])

        assert reflector._version == str(kube.version)


async def test_expired_version_is_listed_anew() -> None:
    """After 410 Gone the list says what vanished."""
    async with kube_server() as kube:
        kube.put(pod("a"))
        async with following(kube) as (store, _):
            kube.objects.pop(("pods", "shop", "a"))
            kube.put(pod("b"))
            kube.log.clear()
            kube.forget()
            kube.cut()
            await until(lambda: names(store) == ["b"])


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"MODIFIED","object":{"metadata":{"name":7,"resourceVersion":"9"}}}',
        b'{"type":"BOOKMARK","object":[]}',
        b'{"type":"RENAMED","object":{"metadata":{"name":"x","resourceVersion":"9"}}}',
        b"<html>",
        b'{"type":"MODIFIED","object":{"metadata":{"name":"\xff","resourceVersion":"9"}}}',
        b'{"type":"MODIFIED","object":{"metadata":{"name":"a"},"spec":{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}}",
    ],
    ids=["object", "bookmark", "unknown", "no JSON", "no UTF-8", "nested too deep"],
)
async def test_event_that_cannot_be_read_is_gone_around_by_a_list(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first thing after the version to resume from, and would be for ever: nothing behind it would be heard of."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.02)
    async with kube_server() as kube:
        kube.put(pod("a"))
        poisoned = Unreadable(kube.connection, line, str(kube.version))
        store = ObjectStore()
        async with running(Reflector(poisoned, POD, store)):
            await until(lambda: names(store) == ["a"])
            kube.put(pod("b"))
            await until(lambda: names(store) == ["a", "b"])
            assert poisoned.met == module.REFUSALS
            kube.put(pod("c"))
            await until(lambda: names(store) == ["a", "b", "c"])
        await poisoned.close()


async def test_failing_server_is_asked_again_with_pauses_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same failure is one line however often it comes."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.02)
    async with kube_server() as kube:
        kube.failing["GET", "/api/v1/pods"] = 503
        cluster = Cluster(kube.connection)
        reflector = Reflector(cluster, POD, ObjectStore())
        async with running(reflector):
            await until(lambda: len(kube.requests) >= 4)
            kube.failing.clear()
            await asyncio.wait_for(reflector.health.synced.wait(), 5)
        await cluster.close()

    assert len([r for r in caplog.records if "following pods" in r.getMessage()]) == 1


async def test_silent_watch_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte for so long means the connection is gone; it is watched again from where it was."""
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    async with kube_server() as kube, following(kube) as (store, _):
        await until(lambda: len(kube.requests) >= 4)
        kube.put(pod("a"))
        await until(lambda: names(store) == ["a"])


async def test_refusal_carries_the_servers_code_reason_and_sentence() -> None:
    """Callers decide by code and reason, people read the sentence."""
    async with kube_server() as kube:
        cluster = Cluster(kube.connection)
        with pytest.raises(ApiError, match="'x' not found") as caught:
            await cluster.get(path_of("v1", "pods", "shop", "x"))
        await cluster.close()

    assert (caught.value.code, caught.value.reason) == (404, "NotFound")


async def test_feed_is_back_as_soon_as_anybody_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would wait by itself: else the kinds come back one after the other."""
    monkeypatch.setattr(module, "FIRST_WAIT", 3600.0)
    async with kube_server() as kube:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            cluster = Cluster(Connection(server=f"http://127.0.0.1:{deaf.getsockname()[1]}"))
            reflector = Reflector(cluster, POD, ObjectStore())
            async with running(reflector):
                await until(lambda: bool(reflector.health.error))
                cluster.connection = kube.connection
                await cluster.get(path_of("v1", "pods"))
                await asyncio.wait_for(reflector.health.synced.wait(), 5)
        await cluster.close()


def test_feed_is_back_before_a_pod_that_rolls_at_once_is_gone() -> None:
    """Where the API server comes back and a workload rolls in the same second, its successor is heard of while the old pod waits for its callers."""
    assert module.LONGEST_WAIT < PRESTOP_SECONDS
