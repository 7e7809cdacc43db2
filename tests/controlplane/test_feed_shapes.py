"""What the store keeps is what somebody reads: every field of every shape, every label and annotation, and no other."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from controlplane.feed.kinds import CLUSTER, FEED, WORKLOADS, Kind
from controlplane.feed.namespaces import Namespaces
from controlplane.feed.objects import ObjectStore
from controlplane.feed.versions import Kubelets
from controlplane.ingest.assemble import ingest
from controlplane.inject.workload import owner_of, template_change
from controlplane.write.notices import news_of
from meshapi import names

FILLER: dict[Any, Any] = {str: "Pod", int: 1, bool: True, Any: {}}
WORDS = {
    names.MESH_LABEL: "enabled",
    "kubernetes.io/service-name": "s",
    "topology.kubernetes.io/zone": "z",
    "kubernetes.io/hostname": "n",
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": "arm64",
    "node.kubernetes.io/instance-type": "m",
    "app": "a",
    "app.kubernetes.io/name": "n",
    "version": "v",
    "app.kubernetes.io/version": "w",
    "pod-template-hash": "h",
    "rollouts-pod-template-hash": "h",
    names.INJECT: "enabled",
    names.INJECTED_BY: "Deployment/Pod",
    names.OPAQUE_PORTS: "1",
    names.EXCLUDE_INBOUND_PORTS: "2",
    names.SKIPPED: "because",
    "somebody/else": "x",
}
USUAL: dict[str, Any] = {
    "labels": WORDS,
    "annotations": WORDS,
    "namespace": "",
    "ownerReferences": [{"kind": "ReplicaSet", "name": "web-h", "controller": True}],
    "protocol": "TCP",
    "addresses": ["10.0.0.1"],
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "addressType": "IPv4",
    "ip": "10.0.0.1",
    "podIP": "10.0.0.1",
    "clusterIP": "10.0.0.1",
    "clusterIPs": ["10.0.0.1"],
    "hostNetwork": False,
    "sessionAffinity": "None",
    "internalTrafficPolicy": "Cluster",
    "ipMode": "VIP",
    "kubeletVersion": "v1.31.0",
}
SPARSE = {**USUAL, "labels": {"kubernetes.io/service-name": "s"}, "annotations": {}, "podIPs": [], "clusterIPs": []}
"""What is read only where the usual is not there."""
READ = (*CLUSTER, *WORKLOADS)
"""Kinds of which only some fields are read; of the others it is all of `spec`."""


class Noted(dict[str, Any]):
    """A record, and words, that note what is read of them, by path."""

    read: typing.ClassVar[set[str]] = set()
    __hash__ = object.__hash__  # type: ignore[assignment]  # known again as itself, where equal parts are

    def __init__(self, path: str, value: dict[str, Any], type_: Any) -> None:
        type_ = there(type_)
        self.path, self.names = path, {}
        hints = {}
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            hints = {one.encode_name: typing.get_type_hints(type_)[one.name] for one in msgspec.structs.fields(type_)}
            self.names = {one.name: one.encode_name for one in msgspec.structs.fields(type_)}
        super().__init__({key: noted(f"{path}.{key}", one, hints.get(key)) for key, one in value.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[self.names[name]]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, key: str, default: Any = None) -> Any:
        Noted.read.add(f"{self.path}.{key}")
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        Noted.read.add(f"{self.path}.{key}")
        return super().__getitem__(key)

    def items(self) -> Any:
        Noted.read.update(f"{self.path}.{key}" for key in self)
        return super().items()


def noted(path: str, value: Any, type_: Any) -> Any:
    if isinstance(value, dict):
        return Noted(path, value, type_)
    if isinstance(value, list):
        of = typing.get_args(there(type_))
        return tuple(noted(f"{path}[]", one, of[0] if of else None) for one in value)
    return value


def there(type_: Any) -> Any:
    """What a field that may be empty is of."""
    if typing.get_origin(type_) in {types.UnionType, typing.Union}:
        return next(one for one in typing.get_args(type_) if one is not type(None))
    return type_


def full(type_: Any, values: dict[str, Any], field: str = "") -> Any:
    """Make a value of a type with everything in it."""
    if field in values:
        return values[field]
    type_ = there(type_)
    if typing.get_origin(type_) is tuple:
        return [full(typing.get_args(type_)[0], values)]
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        hints = typing.get_type_hints(type_)
        return {
            one.encode_name: full(hints[one.name], values, one.encode_name) for one in msgspec.structs.fields(type_)
        }
    return FILLER[type_]


def cluster_of(values: dict[str, Any]) -> dict[Kind, dict[str, Any]]:
    """One object of each kind; workloads that ask for what their sparse templates do not say."""
    made = {kind: full(kind.shape, values) for kind in FEED}
    for kind in WORKLOADS:
        made[kind]["metadata"]["annotations"] = WORDS
    return made


def fields(type_: Any, path: str) -> Iterator[str]:
    """Every field of a shape below the first level, by path; lists and structs too."""
    type_ = there(type_)
    if typing.get_origin(type_) is tuple:
        yield from fields(typing.get_args(type_)[0], f"{path}[]")
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        hints = typing.get_type_hints(type_)
        for one in msgspec.structs.fields(type_):
            yield f"{path}.{one.encode_name}"
            yield from fields(hints[one.name], f"{path}.{one.encode_name}")


def everybody(objects: list[tuple[Kind, Any]]) -> list[Any]:
    """Have everybody read these objects who reads any, and say what they read."""
    store = ObjectStore()
    for kind, obj in objects:
        store.apply(kind.name, obj)
    model = ingest(store)
    (pod,), (namespace,) = store.of("Pod"), store.of("Namespace")
    account = pod["spec"].get("serviceAccountName")  # `PodCallers.admit`
    words = Namespaces(cast("Any", None), store).known(namespace["metadata"]["name"])
    said: list[Any] = [owner_of(pod), news_of(pod), account, words.get(names.INJECT), Kubelets(store).know({})]
    (node,) = store.of("Node")
    said += [chosen(node, word) for word in WORDS]
    for kind in WORKLOADS:
        (workload,) = store.of(kind.name)
        said += [template_change({**workload, "kind": kind.name}), workload["metadata"].get("deletionTimestamp")]
    return [model.pods, model.services, model.slices, model.nodes, model.problems, said]


def chosen(node: dict[str, Any], word: str) -> bool:
    """Whether a pod that selects nodes by a label may come to this one, were its kubelet old, and not only to another."""
    store = ObjectStore()
    store.apply("Node", {**node, "spec": {}, "status": {"nodeInfo": {"kubeletVersion": "v1.0"}}})
    other = {"metadata": {"name": "other", "labels": WORDS}, "status": {"nodeInfo": {"kubeletVersion": "v1.31"}}}
    store.apply("Node", other)
    return not Kubelets(store).know({"nodeSelector": {word: WORDS[word]}})


@pytest.fixture(scope="module")
def read() -> set[str]:
    Noted.read = set()
    for values in (USUAL, SPARSE):
        everybody([(kind, Noted(kind.name, cluster_of(values)[kind], kind.shape)) for kind in FEED])
    return Noted.read


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_every_field_that_is_kept_is_read(kind: Kind, read: set[str]) -> None:
    """What nobody reads costs memory, and a pass each time it changes."""
    kept = set(fields(kind.shape, kind.name)) - {f"{kind.name}.metadata.resourceVersion"}
    emptied = {f"{kind.name}.metadata.{words}" for words in ("labels", "annotations") if not getattr(kind, words)}

    assert sorted(path for path in kept - emptied - read if path.count(".") > 1) == []


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_every_field_that_is_read_is_kept(kind: Kind, read: set[str]) -> None:
    """A field that is left out of a shape is never there, and whoever reads it would not know."""
    kept = set(fields(kind.shape, kind.name))
    asked = {
        path
        for path in read
        if path.startswith(f"{kind.name}.") and "labels." not in path and "annotations." not in path
    }

    assert sorted(asked - kept) == []


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_word_is_kept_where_somebody_reads_it_and_nowhere_else(kind: Kind, where: str) -> None:
    """A label that makes no difference is left out, and leaving out makes no difference."""

    def read_by_all(words: dict[str, str], *, as_kept: bool) -> list[Any]:
        objects = cluster_of({**SPARSE, "ownerReferences": USUAL["ownerReferences"]})
        objects[kind]["metadata"][where] = words
        records = {of: msgspec.convert(obj, of.shape) for of, obj in objects.items()}
        return everybody([(of, of.kept(record) if as_kept else record) for of, record in records.items()])

    base = {"kubernetes.io/service-name": "s"} if kind.name == "EndpointSlice" else {}
    without = read_by_all(base, as_kept=False)
    different = set()
    for word, value in WORDS.items():
        words = {**base, word: value if word not in base else "other"}
        said = read_by_all(words, as_kept=False)
        assert said == read_by_all(words, as_kept=True), word
        different |= {word} if said != without else set()

    assert different == getattr(kind, where)
