"""Native sidecars where the kubelet a pod comes to knows them: by what can be known of that before it is scheduled."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore
from controlplane.feed.versions import Kubelets


def node(
    name: str, version: str, *, ready: str = "True", spec: dict[str, Any] | None = None, **labels: str
) -> dict[str, Any]:
    named = {key.replace("_", ".io/"): value for key, value in labels.items()}
    status = {"nodeInfo": {"kubeletVersion": version}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"kind": "Node", "metadata": {"name": name, "labels": named}, "spec": spec or {}, "status": status}


def bound(*names: str) -> dict[str, Any]:
    """As the DaemonSet controller binds its pods."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": list(names)}]}]
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    }


NEW = node("new", "v1.31.0", kubernetes_arch="arm64", disk_kind="ssd")
OLD = node("old", "v1.28.1", kubernetes_arch="amd64")


@pytest.mark.parametrize(
    ("nodes", "spec", "native"),
    [
        ([NEW], {}, True),
        ([NEW, OLD], {}, False),
        ([NEW, node("old", "v1.28.1", ready="False")], {}, True),
        ([NEW, node("old", "v1.28.1", ready="Unknown")], {}, True),
        ([NEW, node("old", "v1.28.1", spec={"unschedulable": True})], {}, True),
        ([node("old", "v1.28.1", ready="False")], {}, False),
        ([NEW, OLD], {"nodeName": "new"}, True),
        ([NEW, OLD], {"nodeName": "old"}, False),
        ([NEW, node("old", "v1.28.1", ready="False")], {"nodeName": "old"}, False),
        ([NEW, OLD], bound("new"), True),
        ([NEW, OLD], bound("old"), False),
        ([NEW, OLD], bound("new", "old"), False),
        ([NEW, OLD], {"nodeSelector": {"kubernetes.io/arch": "arm64"}}, True),
        ([NEW, OLD], {"nodeSelector": {"kubernetes.io/arch": "amd64"}}, False),
        ([NEW, OLD], {"nodeSelector": {"kubernetes.io/arch": "riscv"}}, False),
        ([NEW, OLD], {"nodeSelector": {"disk.io/kind": "ssd"}}, False),
        ([NEW, OLD], {"nodeName": "unheard-of"}, False),
        ([NEW, node("mute", "")], {}, True),
    ],
)
def test_sidecar_is_native_where_the_pod_can_come_to_no_old_kubelet(nodes: list[Any], spec: Any, native: bool) -> None:
    """One old node that takes no pods does not make every sidecar a plain container; one that a pod may come to does."""
    store = ObjectStore()
    for one in nodes:
        store.apply("Node", one)

    assert Kubelets(store).know(spec) is native


def test_nodes_are_followed_as_they_change() -> None:
    """An upgrade of a cluster goes node by node, and no replica is restarted for it."""
    store = ObjectStore()
    kubelets = Kubelets(store)
    store.apply("Node", OLD)
    before = kubelets.know({})
    store.apply("Node", node("old", "v1.31.0"))
    mended = kubelets.know({})
    store.apply("Node", node("back", "v1.28.1"))
    again = kubelets.know({})
    store.remove("Node", "", "back")

    assert (before, mended, again, kubelets.know({})) == (False, True, False, True)
