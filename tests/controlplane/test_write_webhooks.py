"""The bundle is written into configurations that Helm owns, and nothing of them is owned for it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore
from controlplane.kube.client import Cluster
from controlplane.write.webhooks import Webhooks
from controlplane.write.writer import Writer
from tests.support.feeding import taken_in
from tests.support.kubeserver import kube_server
from tests.support.parts import running
from tests.support.waiting import until

OWNED = [
    {"manager": "helm", "operation": "Apply"},
    {"manager": "tulle-controlplane", "operation": "Update"},
    {"manager": "somebody", "operation": "Update"},
]


def configuration(bundle: str) -> dict[str, Any]:
    service = {"namespace": "tulle-system", "name": "tulle"}
    hook = {"name": "a", "clientConfig": {"service": service, "caBundle": base64.b64encode(bundle.encode()).decode()}}
    metadata = {"name": "tulle", "managedFields": list(OWNED)}
    return {"kind": "MutatingWebhookConfiguration", "metadata": metadata, "webhooks": [hook]}


@pytest.mark.parametrize("before", ["old", "roots"], ids=["to be written", "right already"])
async def test_nothing_of_a_webhook_is_owned_for_its_bundle(before: str) -> None:
    """Helm could not take a webhook out that somebody else owns a field of, so no rollback would go through; a former version left such claims."""
    async with kube_server() as kube:
        cluster, store, writer = Cluster(kube.connection), ObjectStore(), Writer()
        writer.lead(True)
        webhooks = Webhooks(cluster, store, writer, ("tulle-system", "tulle"), lambda: "roots")
        async with running(writer):
            for _ in range(2):
                webhooks.look(taken_in(store, kube.put(configuration(before))))
                await until(lambda: not writer._jobs)
                found = kube.get("mutatingwebhookconfigurations", "", "tulle") or {}
                assert base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]) == b"roots"
                if before == "roots":
                    break
            await cluster.close()

    assert [entry["manager"] for entry in found["metadata"]["managedFields"]] == ["helm", "somebody"]


@pytest.mark.parametrize(
    ("bundle", "carried"),
    [("one", True), ("more one and two", True), ("two", False), ("", False)],
    ids=["alone", "among others", "another", "none"],
)
def test_replica_needs_its_own_roots_in_a_bundle_and_minds_no_others(bundle: str, carried: bool) -> None:
    """The leader writes what it trusts itself, which another replica may know more or less of: a rollout that lends roots would never be ready."""
    store = ObjectStore()
    webhooks = Webhooks(Cluster.__new__(Cluster), store, Writer(), ("tulle-system", "tulle"), lambda: "one and others")
    assert webhooks.carry(["one"])
    taken_in(store, configuration(bundle))

    assert webhooks.carry(["one"]) is carried


def test_bundle_that_is_no_base64_carries_nothing() -> None:
    """Whoever wrote it has the replica wait until it is written again, and nothing raised."""
    store, spoiled = ObjectStore(), configuration("one")
    spoiled["webhooks"][0]["clientConfig"]["caBundle"] = "odd"
    webhooks = Webhooks(Cluster.__new__(Cluster), store, Writer(), ("tulle-system", "tulle"), lambda: "one")
    taken_in(store, spoiled)

    assert not webhooks.carry(["one"])
