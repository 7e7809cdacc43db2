"""What the next pod of a workload is hinted at."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.xds import warm
from controlplane.xds.warm import MAX_WARM, WarmLists
from tests.support.machines import bounded

WEB = ("shop", "Deployment/web")
NAMES = [f"outbound/10.96.0.{number}:80" for number in range(1, 6)]


def test_names_are_hinted_at_in_the_order_they_were_asked_for() -> None:
    """Inbound names are none; what another pod asks for as well is recent again."""
    lists = WarmLists()
    lists.joined(WEB)
    lists.joined(WEB)
    lists.changed(WEB, ["inbound/shop/web-1", NAMES[0], NAMES[1]], ())
    lists.changed(WEB, [NAMES[0]], ())

    assert lists.of(WEB) == [NAMES[1], NAMES[0]]


def test_what_all_pods_let_go_is_hinted_at_no_more() -> None:
    """Else what one pod used once would be fetched by every pod for ever."""
    lists = WarmLists()
    lists.joined(WEB)
    lists.joined(WEB)
    lists.changed(WEB, NAMES[:2], ())
    lists.changed(WEB, NAMES[:1], ())
    lists.changed(WEB, (), NAMES[:1])
    assert lists.of(WEB) == [NAMES[1], NAMES[0]]
    lists.changed(WEB, (), NAMES[:1])

    assert lists.of(WEB) == [NAMES[1]]


def test_workload_made_anew_begins_with_what_its_last_pod_used() -> None:
    """And what the new one lets go is gone as ever."""
    lists = WarmLists()
    lists.joined(WEB)
    lists.changed(WEB, NAMES[:2], ())
    lists.left(WEB, NAMES[:2])
    assert lists.of(WEB) == NAMES[:2]
    lists.joined(WEB)
    lists.changed(WEB, NAMES[:2], ())
    lists.changed(WEB, (), NAMES[:1])

    assert lists.of(WEB) == [NAMES[1]]


def test_workloads_that_are_gone_and_names_to_look_at_are_bounded() -> None:
    """By the most recent."""
    lists, most = WarmLists(), 3
    warm.MAX_GONE, before = most, warm.MAX_GONE
    try:
        for number in range(5):
            key = ("shop", f"Job/{number}")
            lists.joined(key)
            lists.changed(key, NAMES[:1], ())
            lists.left(key, NAMES[:1])
        lists.joined(("shop", "Job/unused"))
        lists.left(("shop", "Job/unused"), ())
    finally:
        warm.MAX_GONE = before
    assert len(lists) == most
    lists.joined(WEB)
    many = [f"outbound/10.0.0.1:{number}" for number in range(1, MAX_WARM + 6)]
    lists.changed(WEB, many, ())

    assert lists.of(WEB) == many[5:]


@pytest.mark.parametrize("count", [100, 5_000])
def test_addresses_outside_the_mesh_evict_nothing(count: int) -> None:
    """A crawler's hosts are more recent than the Services it works for, and lead nowhere a hint could help."""
    lists = WarmLists(lambda name: name in NAMES)
    lists.joined(WEB)
    lists.changed(WEB, NAMES, ())
    lists.changed(WEB, [f"outbound/203.0.{number // 250}.{number % 250}:443" for number in range(count)], ())

    assert lists.of(WEB) == NAMES
    lists.left(WEB, ())
    assert lists.of(WEB) == NAMES


class Lists(RuleBasedStateMachine):
    """Pods of one workload come and go, subscribe and let go."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = WarmLists()
        self.pods: list[set[str]] = []
        self.last: set[str] = set()

    @rule()
    def pod_comes(self) -> None:
        self.lists.joined(WEB)
        self.pods.append(set())

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), names=st.sets(st.sampled_from(NAMES)))
    def pod_changes(self, data: st.DataObject, names: set[str]) -> None:
        pod = data.draw(st.sampled_from(self.pods))
        added, dropped = sorted(names - pod), sorted(names & pod)
        self.lists.changed(WEB, added, dropped)
        pod ^= names
        self.last -= set(added) | set(dropped)

    @precondition(lambda self: self.pods)
    @rule(index=st.integers(0, 10))
    def pod_goes(self, index: int) -> None:
        names = self.pods.pop(index % len(self.pods))
        self.lists.left(WEB, names)
        self.last = self.last | names if not self.pods else self.last - names

    @invariant()
    def hint_is_what_is_subscribed_to_and_what_was_by_the_last(self) -> None:
        assert set(self.lists.of(WEB)) == set().union(*self.pods, self.last)


Lists.TestCase.settings = bounded(100, 30)
test_hint_follows_the_streams = Lists.TestCase


class Replicated(RuleBasedStateMachine):
    """Pods of two workloads on three replicas, which tell each other now and then, restart and go."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = [WarmLists() for _ in range(3)]
        self.known: dict[tuple[int, int], int] = {}
        self.pods: list[tuple[int, tuple[str, str], set[str]]] = []

    @rule(replica=st.integers(0, 2), key=st.sampled_from((WEB, ("shop", "Job/nightly"))))
    def pod_comes(self, replica: int, key: tuple[str, str]) -> None:
        self.lists[replica].joined(key)
        self.pods.append((replica, key, set()))

    @precondition(lambda self: self.pods)
    @rule(index=st.integers(0, 10), names=st.sets(st.sampled_from(NAMES)))
    def pod_changes(self, index: int, names: set[str]) -> None:
        replica, key, held = self.pods[index % len(self.pods)]
        self.lists[replica].changed(key, sorted(names - held), sorted(names & held))
        held ^= names

    @rule(replica=st.integers(0, 2))
    def replica_restarts(self, replica: int) -> None:
        """Its streams go elsewhere; it knows nothing, and is known by another instance."""
        self.lists[replica] = WarmLists()
        self.known = {pair: known for pair, known in self.known.items() if replica not in pair}
        for other in range(3):
            self.lists[other].retain({str(number) for number in range(3)} - {str(replica)})
        self.pods = [pod for pod in self.pods if pod[0] != replica]

    @rule(asks=st.integers(0, 2), says=st.integers(0, 2))
    def one_asks_another(self, asks: int, says: int) -> None:
        if asks != says:
            revision, lists = self.lists[says].told_since(self.known.get((asks, says), 0))
            self.known[asks, says] = revision
            self.lists[asks].heard(str(says), lists)

    def teardown(self) -> None:
        for asks in range(3):
            for says in range(3):
                self.one_asks_another(asks, says)
        for key in (WEB, ("shop", "Job/nightly")):
            hints = [set(lists.of(key)) for lists in self.lists]
            assert hints[0] == hints[1] == hints[2]
            assert set().union(*(held for _, of, held in self.pods if of == key)) <= hints[0]


Replicated.TestCase.settings = bounded(100, 30)
test_replicas_agree_on_what_a_workload_uses = Replicated.TestCase


def test_much_is_told_in_portions() -> None:
    """A replica that comes up among thousands of workloads takes them a few hundred at a time, and all of them."""
    here, there, known = WarmLists(), WarmLists(), 0
    keys = [("shop", f"Deployment/{number}") for number in range(warm.MAX_TOLD * 2 + 5)]
    for key in keys:
        here.joined(key)
        here.changed(key, NAMES[:1], ())
    for _ in range(3):
        known, lists = here.told_since(known)
        assert len(lists) <= warm.MAX_TOLD
        there.heard("here", lists)

    assert [there.of(key) for key in keys] == [NAMES[:1]] * len(keys)
    assert here.told_since(known) == (known, {})
