"""The store, its event log and selectors."""

from __future__ import annotations

import pytest

from devcluster.api.errors import StatusError
from devcluster.api.selectors import field_predicate, label_predicate, selector_matches
from devcluster.api.store import FIRST_VERSION, Store
from devcluster.api.watch import EventLog, WatchEvent

PODS = ("", "pods")


def obj(name: str, namespace: str = "a", **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}}


def test_store_gives_every_change_a_higher_version() -> None:
    """Added, changed and deleted each have their own version."""
    store = Store()
    first = store.put(PODS, obj("x"))
    second = store.put(PODS, obj("x", changed="yes"))
    last = store.remove(PODS, "a", "x")

    assert last is not None
    versions = [int(o["metadata"]["resourceVersion"]) for o in (first, second, last)]
    assert versions == [FIRST_VERSION + 1, FIRST_VERSION + 2, FIRST_VERSION + 3]
    assert [event.type for event in store.log(PODS).since(FIRST_VERSION)] == ["ADDED", "MODIFIED", "DELETED"]


def test_store_lists_in_the_order_of_names() -> None:
    """Namespace, then name."""
    store = Store()
    for name, namespace in (("b", "z"), ("a", "z"), ("c", "a")):
        store.put(PODS, obj(name, namespace))

    assert [o["metadata"]["name"] for o in store.list(PODS)] == ["c", "a", "b"]
    assert [o["metadata"]["name"] for o in store.list(PODS, "z")] == ["a", "b"]


def test_event_log_refuses_what_it_has_forgotten() -> None:
    """A version older than the oldest kept event is 410."""
    log = EventLog(compacted=0, kept=2)
    for version in (1, 2, 3):
        log.append(WatchEvent(type="ADDED", object=obj("x"), old=None, version=version))

    assert [event.version for event in log.since(1)] == [2, 3]
    with pytest.raises(StatusError) as caught:
        log.since(0)
    assert caught.value.code == 410


def test_event_log_tells_listeners_until_they_stop() -> None:
    """A stopped listener hears no more."""
    log, heard = EventLog(compacted=0), []
    stop = log.listen(lambda event: heard.append(event.version))
    log.append(WatchEvent(type="ADDED", object=obj("x"), old=None, version=1))
    stop()
    log.append(WatchEvent(type="ADDED", object=obj("y"), old=None, version=2))

    assert heard == [1]


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ("app=web", True),
        ("app==web,tier!=db", True),
        ("app in (api, web)", True),
        ("app notin (web),x", False),
        ("!gone", True),
        ("app", True),
        ("gone", False),
    ],
)
def test_label_selector_holds(selector: str, holds: bool) -> None:
    """Every form of a term."""
    assert label_predicate(selector)(obj("x", app="web")) is holds


def test_label_selector_refuses_what_it_cannot_read() -> None:
    """A malformed selector is 400 and named."""
    with pytest.raises(StatusError, match="a=b=c"):
        label_predicate("a=b=c")


def test_field_selector_compares_paths() -> None:
    """Dotted paths, equal and not."""
    one = {"metadata": {"name": "x"}, "spec": {"on": True}}

    assert field_predicate("metadata.name=x,spec.on=true")(one)
    assert not field_predicate("metadata.name!=x")(one)
    assert field_predicate("status.phase=")(one)


def test_an_empty_selector_object_meets_all_and_none_meets_nothing() -> None:
    """The two special cases of LabelSelector."""
    assert selector_matches({}, {"a": "b"})
    assert not selector_matches(None, {"a": "b"})
    assert selector_matches({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["c"]}]}, {"a": "b"})
