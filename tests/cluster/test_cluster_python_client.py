"""The official Python client: lists in chunks, watches that resume, bookmarks, versions too old, and conflicts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, stream, watch
from kubernetes.client.exceptions import ApiException

from tests.support.cluster import Kube
from tests.support.objects import pod


@pytest.fixture
def core(kubeconfig: Any) -> Iterator[client.CoreV1Api]:
    """The core API."""
    with config.new_client_from_config(str(kubeconfig)) as api:
        yield client.CoreV1Api(api)
        api.rest_client.pool_manager.clear()


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"made": "by-client"}), data=data)


def test_client_lists_in_chunks_without_losing_any(kube: Kube, core: client.CoreV1Api) -> None:
    """`limit` and `continue` give every object once."""
    for number in range(7):
        core.create_namespaced_config_map(kube.namespace, config_map(f"chunk-{number}"))
    names, token, calls = [], None, 0
    while True:
        page = core.list_namespaced_config_map(
            kube.namespace, limit=3, _continue=token, label_selector="made=by-client"
        )
        names += [item.metadata.name for item in page.items]
        token, calls = page.metadata._continue, calls + 1
        if not token:
            break

    assert sorted(names) == [f"chunk-{number}" for number in range(7)]
    assert calls == 3


def test_client_watch_resumes_from_where_it_was_cut(kube: Kube, core: client.CoreV1Api) -> None:
    """A watch from the version of the last event misses nothing that happened in between."""
    version = core.list_namespaced_config_map(kube.namespace).metadata.resource_version
    core.create_namespaced_config_map(kube.namespace, config_map("resumed", k="1"))
    (first,) = watch.Watch().stream(
        core.list_namespaced_config_map, kube.namespace, resource_version=version, timeout_seconds=1
    )
    core.patch_namespaced_config_map("resumed", kube.namespace, {"data": {"k": "2"}})
    core.delete_namespaced_config_map("resumed", kube.namespace)
    later = first["object"].metadata.resource_version
    events = [
        (event["type"], event["object"].data["k"])
        for event in watch.Watch().stream(
            core.list_namespaced_config_map, kube.namespace, resource_version=later, timeout_seconds=2
        )
    ]

    assert first["type"] == "ADDED"
    assert events == [("MODIFIED", "2"), ("DELETED", "2")]


def test_client_streaming_list_ends_its_beginning_with_a_bookmark(kube: Kube, core: client.CoreV1Api) -> None:
    """`sendInitialEvents` gives what there is, then a bookmark that says so."""
    core.create_namespaced_config_map(kube.namespace, config_map("initial"))
    query = (
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    lines = kube("get", "--raw", f"/api/v1/namespaces/{kube.namespace}/configmaps?{query}").splitlines()

    assert any('"name":"initial"' in line and '"ADDED"' in line for line in lines)
    assert any("k8s.io/initial-events-end" in line and '"BOOKMARK"' in line for line in lines)


def test_client_is_told_that_a_version_is_compacted(kube: Kube, core: client.CoreV1Api) -> None:
    """A watch from a version nobody remembers is 410 Expired."""
    with pytest.raises(ApiException) as caught:
        list(
            watch.Watch().stream(
                core.list_namespaced_config_map, kube.namespace, resource_version="1", timeout_seconds=2
            )
        )

    assert caught.value.status == 410


def test_client_conflicts_on_a_stale_version(kube: Kube, core: client.CoreV1Api) -> None:
    """The second of two writers that read the same version is refused."""
    mine = core.create_namespaced_config_map(kube.namespace, config_map("raced", k="1"))
    core.patch_namespaced_config_map("raced", kube.namespace, {"data": {"k": "theirs"}})
    mine.data = {"k": "mine"}
    with pytest.raises(ApiException) as caught:
        core.replace_namespaced_config_map("raced", kube.namespace, mine)

    assert caught.value.status == 409
    assert core.read_namespaced_config_map("raced", kube.namespace).data == {"k": "theirs"}


def test_client_writes_that_change_nothing_make_no_version(kube: Kube, core: client.CoreV1Api) -> None:
    """An update that says the same again is no event."""
    made = core.create_namespaced_config_map(kube.namespace, config_map("still", k="1"))
    again = core.replace_namespaced_config_map("still", kube.namespace, made)

    assert again.metadata.resource_version == made.metadata.resource_version


def test_client_watch_sees_labels_come_and_go(kube: Kube, core: client.CoreV1Api) -> None:
    """With a selector, gaining the label is ADDED and losing it is DELETED."""
    made = core.create_namespaced_config_map(kube.namespace, config_map("tagged"))
    version = made.metadata.resource_version
    core.patch_namespaced_config_map("tagged", kube.namespace, {"metadata": {"labels": {"in": "sight"}}})
    core.patch_namespaced_config_map("tagged", kube.namespace, {"metadata": {"labels": {"in": None}}})
    events = [
        event["type"]
        for event in watch.Watch().stream(
            core.list_namespaced_config_map,
            kube.namespace,
            label_selector="in=sight",
            resource_version=version,
            timeout_seconds=2,
        )
    ]

    assert events == ["ADDED", "DELETED"]


def test_client_finalizer_holds_an_object_until_it_is_taken_off(kube: Kube, core: client.CoreV1Api) -> None:
    """A deleted object with a finalizer stays, marked, and goes when the finalizer does."""
    body = config_map("held")
    body.metadata.finalizers = ["example.com/hold"]
    core.create_namespaced_config_map(kube.namespace, body)
    core.delete_namespaced_config_map("held", kube.namespace)
    assert core.read_namespaced_config_map("held", kube.namespace).metadata.deletion_timestamp
    core.patch_namespaced_config_map("held", kube.namespace, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map("held", kube.namespace)

    assert caught.value.status == 404


def test_client_executes_in_a_pod_and_watches_it_go(kube: Kube, core: client.CoreV1Api) -> None:
    """Exec over websocket gives the program's words and code; a watch sees the pod go."""
    kube.apply(pod("run"))
    kube("wait", "--for=condition=Ready", "pod/run", "--timeout=30s")
    program = stream.stream(
        core.connect_get_namespaced_pod_exec,
        "run",
        kube.namespace,
        command=["python", "-c", "print(input().upper()); raise SystemExit(3)"],
        stdout=True,
        stderr=True,
        stdin=True,
        tty=False,
        _preload_content=False,
    )
    program.write_stdin("hello\n")
    program.run_forever(timeout=20)
    said, code = program.read_stdout(), program.returncode
    program.sock.shutdown()
    watcher = watch.Watch()
    version = core.list_namespaced_pod(kube.namespace).metadata.resource_version
    threading.Timer(0.2, core.delete_namespaced_pod, ("run", kube.namespace)).start()
    gone = any(
        event["type"] == "DELETED"
        for event in watcher.stream(
            core.list_namespaced_pod,
            kube.namespace,
            field_selector="metadata.name=run",
            resource_version=version,
            timeout_seconds=10,
        )
        if event["type"] != "DELETED" or watcher.stop() is None
    )

    assert (said.strip(), code) == ("HELLO", 3)
    assert gone
