"""The registry alone: identity, defaults, generations, conflicts, finalizers, garbage, namespaces, addresses."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from devcluster.api.errors import StatusError
from devcluster.api.garbage import Collector
from devcluster.api.namespaces import Undertaker
from devcluster.api.registry import Patch, PatchKind, Registry

Object = dict[str, Any]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """A registry with a namespace and its keepers."""
    made = Registry()
    await made.create("namespaces", {"metadata": {"name": "n"}})
    keepers = [Collector(made), Undertaker(made)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keeper.run()) for keeper in keepers]
        yield made
        for task in tasks:
            task.cancel()


def config_map(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "n", **metadata}, "data": {"k": "1"}}


def deployment(name: str) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"name": name, "namespace": "n"}, "spec": spec}


async def changed(registry: Registry, kind: str, holds: Callable[[], bool]) -> None:
    """Wait until something is true of a kind's objects."""
    rung = asyncio.Event()
    stop = registry.subscribe(kind, lambda _: rung.set())
    async with asyncio.timeout(5):
        while not holds():
            rung.clear()
            await rung.wait()
    stop()


async def settled(registry: Registry, kind: str, name: str) -> None:
    """Wait until an object is gone."""
    await changed(registry, kind, lambda: all(obj["metadata"]["name"] != name for obj in registry.list(kind)))


async def test_created_object_has_identity_and_defaults(registry: Registry) -> None:
    """Kind, uid, time, generation, and what the server fills in."""
    made = await registry.create("deployments.apps", deployment("d"))

    assert (made["apiVersion"], made["kind"], made["metadata"]["generation"]) == ("apps/v1", "Deployment", 1)
    assert made["metadata"]["uid"]
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"


async def test_a_name_is_made_from_its_beginning(registry: Registry) -> None:
    """The generated name is different every time."""
    names = {
        (await registry.create("configmaps", {"metadata": {"generateName": "x-", "namespace": "n"}}))["metadata"][
            "name"
        ]
        for _ in range(3)
    }

    assert len(names) == 3
    assert all(name.startswith("x-") for name in names)


async def test_stale_update_is_refused_and_the_same_again_is_no_change(registry: Registry) -> None:
    """409 on an old version; no new version for nothing new."""
    first = await registry.create("configmaps", config_map("m"))
    changed = copy.deepcopy(first)
    changed["data"] = {"k": "2"}
    second = await registry.update("configmaps", changed)
    with pytest.raises(StatusError, match="the object has been modified"):
        await registry.update("configmaps", changed)
    again = await registry.update("configmaps", copy.deepcopy(second))

    assert again["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_status_and_spec_are_written_apart(registry: Registry) -> None:
    """An update of one leaves the other alone, and only the spec counts a generation."""
    made = copy.deepcopy(await registry.create("deployments.apps", deployment("d")))
    made["status"] = {"replicas": 1}
    made["spec"]["replicas"] = 5
    after = await registry.update("deployments.apps", made, subresource="status")
    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (1, {"replicas": 1}, 1)
    patch = Patch(kind=PatchKind.MERGE, body={"spec": {"replicas": 3}, "status": {"replicas": 9}})
    after = await registry.patch("deployments.apps", "n", "d", patch)

    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (3, {"replicas": 1}, 2)


async def test_scale_is_a_view_of_replicas(registry: Registry) -> None:
    """Patching the scale changes the object."""
    await registry.create("deployments.apps", deployment("d"))
    patch = Patch(kind=PatchKind.MERGE, body={"spec": {"replicas": 4}})
    scale = await registry.patch("deployments.apps", "n", "d", patch, subresource="scale")

    assert scale["kind"] == "Scale"
    assert registry.get("deployments.apps", "n", "d")["spec"]["replicas"] == 4


async def test_owned_objects_go_after_their_owner(registry: Registry) -> None:
    """Background deletion collects the dependents."""
    owner = await registry.create("configmaps", config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await registry.create("configmaps", config_map("owned", ownerReferences=[reference]))
    await registry.delete("configmaps", "n", "owner")

    await settled(registry, "configmaps", "owned")


async def test_foreground_deletion_waits_for_the_owned(registry: Registry) -> None:
    """The owner stays until a held dependent goes."""
    owner = await registry.create("configmaps", config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    reference |= {"blockOwnerDeletion": True}
    held = config_map("owned", ownerReferences=[reference], finalizers=["x/y"])
    await registry.create("configmaps", held)
    await registry.delete("configmaps", "n", "owner", options={"propagationPolicy": "Foreground"})
    await changed(
        registry,
        "configmaps",
        lambda: bool(registry.get("configmaps", "n", "owned")["metadata"].get("deletionTimestamp")),
    )
    assert registry.get("configmaps", "n", "owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    await registry.patch(
        "configmaps", "n", "owned", Patch(kind=PatchKind.MERGE, body={"metadata": {"finalizers": None}})
    )

    await settled(registry, "configmaps", "owner")


async def test_orphaned_objects_stay(registry: Registry) -> None:
    """The reference goes with the owner, the object does not."""
    owner = await registry.create("configmaps", config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await registry.create("configmaps", config_map("owned", ownerReferences=[reference]))
    await registry.delete("configmaps", "n", "owner", options={"propagationPolicy": "Orphan"})
    await settled(registry, "configmaps", "owner")

    assert not registry.get("configmaps", "n", "owned")["metadata"].get("ownerReferences")


async def test_namespace_takes_its_content_with_it_and_refuses_new(registry: Registry) -> None:
    """Terminating namespaces take nothing in."""
    await registry.create("configmaps", config_map("held", finalizers=["x/y"]))
    await registry.delete("namespaces", "", "n")
    with pytest.raises(StatusError, match="because it is being terminated"):
        await registry.create("configmaps", config_map("late"))
    await registry.patch(
        "configmaps", "n", "held", Patch(kind=PatchKind.MERGE, body={"metadata": {"finalizers": None}})
    )

    await settled(registry, "namespaces", "n")


async def test_a_running_pod_is_given_its_grace(registry: Registry) -> None:
    """It is marked first and goes when its agent says so."""
    pod: Object = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "x", "containers": []}}
    await registry.create("pods", pod)
    marked = await registry.delete("pods", "n", "p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    await registry.delete("pods", "n", "p", options={"gracePeriodSeconds": 0})

    with pytest.raises(StatusError, match='pods "p" not found'):
        registry.get("pods", "n", "p")


async def test_services_get_addresses_of_their_own(registry: Registry) -> None:
    """Different ones, kept over updates, and none for headless; a taken one is refused."""

    async def service(name: str, **spec: Any) -> Object:
        body = {"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": [{"port": 80}], **spec}}
        return await registry.create("services", body)

    one, two, none = await service("a"), await service("b"), await service("c", clusterIP="None")
    assert one["spec"]["clusterIP"] != two["spec"]["clusterIP"]
    assert none["spec"]["clusterIPs"] == ["None"]
    again = copy.deepcopy(one)
    del again["spec"]["clusterIP"]
    assert (await registry.update("services", again))["spec"]["clusterIP"] == one["spec"]["clusterIP"]

    with pytest.raises(StatusError, match="already allocated"):
        await service("d", clusterIP=one["spec"]["clusterIP"])


async def test_a_dry_run_keeps_nothing(registry: Registry) -> None:
    """The answer is as if, the store is as before."""
    version = registry.store.version
    made = await registry.create("configmaps", config_map("ghost"), dry_run=True)

    assert made["metadata"]["uid"]
    assert registry.store.version == version
