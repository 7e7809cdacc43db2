"""What the next pod of a workload is hinted at."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.xds import warm
from controlplane.xds.warm import MAX_LOOKED_AT, WarmLists

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
    many = [f"outbound/10.0.0.1:{number}" for number in range(1, MAX_LOOKED_AT + 6)]
    lists.changed(WEB, many, ())

    assert lists.of(WEB) == many[5:]


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


Lists.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
test_hint_follows_the_streams = Lists.TestCase
