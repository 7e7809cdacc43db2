"""Which pods are the other replicas, and what it takes to know."""

from __future__ import annotations

from typing import Any

from controlplane.feed.objects import ObjectStore
from controlplane.replicas import Replicas, Statement
from controlplane.settings import Settings
from tests.controlplane.test_compiler_reads import counted


class Nothing:
    def heard(self, replica: str, lists: Any) -> None: ...

    def retain(self, replicas: Any) -> None: ...


def pod(name: str, namespace: str = "tulle-system", app: str = "tulle", phase: str = "Running") -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": app}
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "status": {"phase": phase}}


def replicas(store: ObjectStore) -> Replicas:
    settings = Settings(namespace="tulle-system", pod="own")
    return Replicas(settings, store, lambda: "", lambda: Statement(pod="own"), Nothing())


async def test_pods_of_the_installation_that_have_not_ended_are_replicas() -> None:
    store = ObjectStore()
    made = replicas(store)
    others = [pod("gone"), pod("a", "shop"), pod("job", app="other"), pod("over", phase="Succeeded")]
    for one in (pod("own"), pod("second"), *others):
        store.apply("Pod", one)
    store.remove("Pod", "tulle-system", "gone")

    assert made.heard() == {"own": Statement(pod="own"), "second": None}


async def test_replicas_are_known_at_one_cost_however_many_pods_there_are() -> None:
    """They are asked for each second, in the loop that serves all sidecars."""
    store, calls = ObjectStore(), list[int]()
    made = replicas(store)
    store.apply("Pod", pod("second"))
    for many in (1, 3000):
        for number in range(many):
            store.apply("Pod", pod(f"p{number}", "shop"))
        with counted(calls):
            made.heard()

    assert calls[0] == calls[1]
