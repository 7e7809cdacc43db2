"""The patches: merge, JSON, strategic, and what owns which field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.api import ownership
from devcluster.api.errors import StatusError
from devcluster.api.ownership import Manager
from devcluster.api.patches import json_patch, merge_patch
from devcluster.api.shapes import Shape
from devcluster.api.strategic import strategic_merge

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_merge_patch_with_a_whole_value_gives_it(target: Any, value: Any) -> None:
    """RFC 7386: what is no map replaces, and a patch onto nothing gives itself."""
    assert merge_patch(None, value) == value
    if not isinstance(value, dict):
        assert merge_patch(target, value) == value


def test_merge_patch_removes_by_null_and_leaves_the_target_alone() -> None:
    """The target is not changed."""
    target = {"a": {"b": 1, "c": 2}}

    assert merge_patch(target, {"a": {"b": None}}) == {"a": {"c": 2}}
    assert target == {"a": {"b": 1, "c": 2}}


def test_json_patch_does_every_operation() -> None:
    """Add, replace, move, copy, test, remove, with escaped paths."""
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "replace", "path": "/a/0", "value": 0},
        {"op": "copy", "from": "/a", "path": "/x~1y"},
        {"op": "move", "from": "/b", "path": "/c"},
        {"op": "remove", "path": "/a/1"},
    ]

    assert json_patch({"a": [1, 2], "b": 5}, operations) == {"a": [0, 3], "x/y": [0, 2, 3], "c": 5}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nope"},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "dance", "path": "/a"},
        {"path": "/a"},
        "no operation",
    ],
)
def test_json_patch_refuses_what_does_not_apply(operation: Any) -> None:
    """Each is 422 with the operation in the sentence."""
    with pytest.raises(StatusError) as caught:
        json_patch({"a": [1]}, [operation])

    assert caught.value.code == 422


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def test_strategic_patch_merges_containers_by_name() -> None:
    """The named container changes, others stay, a new one is added."""
    target = pod({"name": "a", "image": "1"}, {"name": "b", "image": "1"})
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}
    merged = strategic_merge(target, patch, Shape())

    assert [(c["name"], c["image"]) for c in merged["spec"]["containers"]] == [("a", "1"), ("b", "2"), ("c", "3")]


def test_strategic_patch_follows_its_directives() -> None:
    """Delete an item, replace a list, take from a set, order, retain keys."""
    target = pod({"name": "a"}, {"name": "b"}) | {"metadata": {"name": "p", "finalizers": ["x", "y"]}}
    gone = strategic_merge(target, {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, Shape())
    swapped = strategic_merge(
        target,
        {
            "spec": {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
                "containers": [{"name": "c"}],
            }
        },
        Shape(),
    )
    freed = strategic_merge(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}, Shape())
    kept = strategic_merge(
        {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}},
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        Shape(),
    )

    assert [c["name"] for c in gone["spec"]["containers"]] == ["b"]
    assert [c["name"] for c in swapped["spec"]["containers"]] == ["c", "b", "a"]
    assert freed["metadata"]["finalizers"] == ["y"]
    assert kept["spec"]["strategy"] == {"type": "Recreate"}


def test_strategic_patch_refuses_an_item_without_its_key() -> None:
    """The missing merge key is named."""
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        strategic_merge(pod(), {"spec": {"containers": [{"image": "x"}]}}, Shape())


def manager(name: str, operation: str = "Apply") -> Manager:
    return Manager(name=name, operation=operation, api_version="v1", time="2024-01-01T00:00:00Z")


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}


def test_apply_refuses_a_field_of_somebody_else_by_name() -> None:
    """The sentence is the real server's."""
    live = ownership.apply(None, config(k="1"), Shape(), manager("kubectl"), force=False)
    with pytest.raises(StatusError) as caught:
        ownership.apply(live, config(k="2"), Shape(), manager("other"), force=False)

    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "kubectl": .data.k'
    assert caught.value.code == 409


def test_apply_takes_a_field_by_force_and_drops_what_it_no_longer_says() -> None:
    """Forced fields change owners; a field nobody says any more goes."""
    live = ownership.apply(None, config(k="1", mine="1"), Shape(), manager("kubectl"), force=False)
    forced = ownership.apply(live, config(k="2"), Shape(), manager("other"), force=True)
    nothing = {key: value for key, value in config().items() if key != "data"}
    last = ownership.apply(forced, nothing, Shape(), manager("kubectl"), force=False)

    assert forced["data"] == {"k": "2", "mine": "1"}
    assert last["data"] == {"k": "2"}
    assert [entry["manager"] for entry in last["metadata"]["managedFields"]] == ["other"]


def test_apply_shares_a_field_both_say_alike() -> None:
    """The same value is no conflict, and stays while one of them says it."""
    live = ownership.apply(None, config(k="1"), Shape(), manager("a"), force=False)
    both = ownership.apply(live, config(k="1"), Shape(), manager("b"), force=False)
    one = ownership.apply(both, config(), Shape(), manager("a"), force=False)

    assert one["data"] == {"k": "1"}


def test_apply_merges_containers_by_name_and_ports_by_number() -> None:
    """A second manager adds to the same container without touching the first one's fields."""
    one = pod({"name": "app", "image": "1", "ports": [{"containerPort": 80, "protocol": "TCP"}]})
    two = pod({"name": "app", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 81}]})
    live = ownership.apply(None, one, Shape(), manager("a"), force=False)
    merged = ownership.apply(live, two, Shape(), manager("b"), force=False)
    (container,) = merged["spec"]["containers"]

    assert container["image"] == "1"
    assert [port["containerPort"] for port in container["ports"]] == [80, 81]
    fields = merged["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"]["f:containers"]['k:{"name":"app"}']
    assert 'k:{"containerPort":81,"protocol":"TCP"}' in fields["f:ports"]


def test_item_that_its_last_owner_leaves_out_goes_whole() -> None:
    """With what nobody owns in it; a field that somebody else owns keeps the item."""
    both = pod({"name": "app", "image": "1"}, {"name": "side", "image": "2"})
    live = ownership.apply(None, both, Shape(), manager("a"), force=False)
    live["spec"]["containers"][1]["tty"] = True
    alone = ownership.apply(live, pod({"name": "app", "image": "1"}), Shape(), manager("a"), force=False)

    assert alone["spec"]["containers"] == [{"name": "app", "image": "1"}]


def test_a_plain_write_takes_the_fields_it_changes() -> None:
    """An update owns what it changed, the applier keeps the rest."""
    live = ownership.apply(None, config(a="1", b="1"), Shape(), manager("a"), force=False)
    new = {**live, "metadata": dict(live["metadata"]), "data": {"a": "1", "b": "2"}}
    ownership.record(live, new, Shape(), manager("editor", "Update"))
    owned = {entry["manager"]: entry["fieldsV1"] for entry in new["metadata"]["managedFields"]}

    assert owned["a"]["f:data"] == {"f:a": {}}
    assert owned["editor"]["f:data"] == {"f:b": {}}


@given(st.sets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"n":1}', 'v:"x"']), min_size=1, max_size=4).map(tuple)))
def test_field_sets_survive_encoding(paths: set[tuple[str, ...]]) -> None:
    """FieldsV1 and back is the same set."""
    assert ownership.from_fields_v1(ownership.to_fields_v1(paths)) == paths
