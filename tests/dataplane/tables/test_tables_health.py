"""Endpoints that fail are passed over for a while, never too many of them, and are back when they answer again."""

from __future__ import annotations

import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.config import Cluster, Endpoint, Endpoints, SidecarConfig
from dataplane.tables.compile import Tables, compile_tables
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.health import (
    ANSWERED,
    CONNECTING,
    DUE,
    FAILED,
    IN_A_ROW,
    MOVES,
    REFUSED,
    STATES,
    TRIAL,
    UNANSWERED,
    WELL,
    Health,
    Ward,
    back_off,
    share,
)
from meshapi.records import replace
from tests.support.machines import bounded, within

PAUSE = (1.0, 30.0)
POLICIES = ("round_robin", "least_request", "random")


def config(*addresses: str, policy: str = "round_robin", weight: int = 1) -> SidecarConfig:
    """The first endpoint has the weight."""
    found = tuple(Endpoint(address=one, port=80) for one in addresses)
    if found:
        found = (replace(found[0], weight=weight), *found[1:])
    noun = Cluster(name="c", kind="eds", endpoints_name="c", policy=policy)
    return SidecarConfig(clusters={"c": noun}, endpoints={"c": Endpoints(name="c", endpoints=found)})


def table(*addresses: str, **more: object) -> ClusterTable:
    return compile_tables(config(*addresses, **more)).clusters["c"]


def slot(of: ClusterTable, address: str) -> EndpointSlot:
    return next(one for one in of.slots if one.address == address)


def fail(of: ClusterTable, *addresses: str, now: float = 0.0, cause: int = CONNECTING) -> None:
    for address in addresses:
        slot(of, address).health.failed(now, cause, "x", PAUSE, 0.0)


def picked(of: ClusterTable, count: int = 40) -> set[str]:
    return {of.pick(None).address for _ in range(count)}


def test_every_move_is_in_the_table_but_those_that_cannot_be() -> None:
    """Only what is set aside can become due."""
    missing = {(s, e) for s in range(len(STATES)) for e in (FAILED, DUE, ANSWERED)} - set(MOVES)

    assert missing == {(WELL, DUE)}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("weight", [1, 3])
def test_endpoint_that_cannot_be_connected_gets_no_turns_until_it_is_due(policy: str, weight: int) -> None:
    """Whatever the policy; when it is time one is told, and only one."""
    c = table("a", "b", "d", policy=policy, weight=weight)
    fail(c, "a")

    assert picked(c) == {"b", "d"}
    assert c.due(0.5, PAUSE) is None
    assert c.due(1.0, PAUSE) is slot(c, "a")
    assert c.due(1.0, PAUSE) is None
    assert picked(c) == {"b", "d"}
    slot(c, "a").health.connected(1.5)
    assert picked(c) == {"a", "b", "d"}


def test_look_ahead_leaves_out_who_is_passed_over() -> None:
    """Nobody is connected to ahead of a turn that does not come."""
    c = table("a", "b", "d")
    fail(c, "d")
    for _ in range(4):
        told = c.peek()
        assert told is c.pick(None)
    fail(c, "b", now=5.0)

    assert len(picked(c)) == 2


def test_at_most_half_are_passed_over_and_none_when_all_fail() -> None:
    """What is left is not crushed by the rest, and a guess is better than nobody."""
    assert [share(failing, 4) for failing in range(5)] == [0, 1, 2, 2, 0]
    assert [share(1, count) for count in (1, 2, 3)] == [0, 1, 1]
    c = table("a", "b", "d", "e")
    fail(c, "a", "b", "d")
    assert len(picked(c)) == 2
    fail(c, "e")

    assert picked(c) == {"a", "b", "d", "e"}


def test_half_of_thousands_that_fail_cost_each_change_little() -> None:
    """A zone that is away: every trial changes who is passed over, and the next request looks. It took 20 ms of each with a thousand endpoints."""
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(5000)]
    made = table(*many)
    fail(made, *many[:2500])
    began = time.process_time()
    for number in range(20):
        fail(made, many[number], now=100.0)
        made.pick(None)

    assert time.process_time() - began < 1.0
    assert made.passed_over == 2500


def test_excluded_endpoints_give_way_to_one_that_is_passed_over() -> None:
    """Somebody tried for this very request in vain is worse than somebody who failed a while ago."""
    c = table("a", "b")
    fail(c, "a")

    assert c.pick([slot(c, "b")]) is slot(c, "a")
    assert c.pick(list(c.slots)) is slot(c, "b")


def test_back_off_doubles_with_each_trial_that_fails_up_to_a_bound() -> None:
    """1, 2, 4 and so on to 30 seconds, up to a quarter less by lot; an answer begins anew."""
    assert [back_off(rounds, PAUSE, 0.0) for rounds in (1, 2, 3, 5, 6, 99)] == [1, 2, 4, 16, 30, 30]
    assert back_off(3, PAUSE, 1.0) == 3.0
    health = Health(Ward())
    now = 0.0
    for wait in (1.0, 2.0, 4.0):
        assert health.failed(now, CONNECTING, "x", PAUSE, 0.0)
        assert health.until - now == wait
        now = health.until
        health.begin_trial(now, PAUSE)
    assert health.answered()
    health.failed(now, CONNECTING, "x", PAUSE, 0.0)

    assert health.until - now == 1.0


def test_failures_of_what_began_before_are_no_news() -> None:
    """A hundred requests in flight at the same dead endpoint are one reason, not a hundred."""
    health = Health(Ward())
    told = [health.failed(0.1 * count, CONNECTING, "x", PAUSE, 0.0) for count in range(9)]

    assert told == [True] + [False] * 8
    assert health.until == 1.0


def test_requests_without_answers_count_in_a_row_only() -> None:
    """One answer between them says that it is not the endpoint."""
    health = Health(Ward())
    for _ in range(3):
        for _ in range(IN_A_ROW - 1):
            assert not health.failed(0.0, UNANSWERED, "x", PAUSE, 0.0)
        assert not health.answered()
    for _ in range(IN_A_ROW):
        health.failed(0.0, UNANSWERED, "x", PAUSE, 0.0)

    assert health.describe(0.5) == "set aside after x, for another 0.5 s"


@pytest.mark.parametrize("cause", [REFUSED, UNANSWERED])
def test_connection_does_not_prove_that_requests_are_answered(cause: int) -> None:
    """It lets the next request be the trial at once."""
    c = table("a", "b")
    for _ in range(IN_A_ROW):
        fail(c, "a", cause=cause)
    assert c.due(1.0, PAUSE) is slot(c, "a")
    assert not slot(c, "a").health.connected(1.1)
    assert picked(c) == {"b"}

    assert c.due(1.1, PAUSE) is slot(c, "a")
    assert slot(c, "a").health.answered()
    assert picked(c) == {"a", "b"}


def test_health_outlives_a_push_and_ends_with_the_endpoint() -> None:
    """What was learnt is kept for who stays; who comes back later comes back well; the share holds for those who are left."""
    before = compile_tables(config("a", "b", "d", "e"))
    fail(before.clusters["c"], "a", "b")
    after = compile_tables(config("a", "d", policy="random", weight=2), before)
    assert picked(after.clusters["c"]) == {"d"}
    gone = compile_tables(config("d"), after)
    again = compile_tables(config("a", "b", "d"), gone)

    assert picked(again.clusters["c"]) == {"a", "b", "d"}


def test_failure_after_a_push_is_heard() -> None:
    """The new table shares what the endpoints it kept report to."""
    before = compile_tables(config("a", "b", "d"))
    picked(before.clusters["c"])
    after = compile_tables(config("a", "b", "d", "e"), before).clusters["c"]
    picked(after)
    fail(after, "a")

    assert picked(after) == {"b", "d", "e"}


names = st.sampled_from("abcdef")


class Endpointed(RuleBasedStateMachine):
    """Picks, failures, answers, time and pushes in any order, against endpoints that live or do not."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: Tables = compile_tables(config("a", "b", "c"))
        self.now = 0.0
        self.alive = set("abcdef")
        self.flying: list[EndpointSlot] = []
        """Where requests are; each is one of its slot's active ones."""
        self.probes: list[EndpointSlot] = []
        """Connections nobody waits for."""

    @property
    def cluster(self) -> ClusterTable:
        return self.tables.clusters["c"]

    def _aside(self) -> list[EndpointSlot]:
        return [one for one in self.cluster.slots if self.cluster.passes_over(one)]

    @rule(tried=st.sets(names, max_size=2))
    def request(self, tried: set[str]) -> None:
        """Dispatch as `Attempt` does."""
        trial = None if tried else self.cluster.due(self.now, PAUSE)
        aside = self._aside()
        excluded = [one for one in self.cluster.slots if one.address in tried]
        if trial is not None:
            assert trial in aside
            self.probes.append(trial)
        slot = self.cluster.pick(excluded or None)
        assert (slot is None) == (not self.cluster.slots)
        if slot is None:
            return
        others = [one for one in self.cluster.slots if one not in excluded]
        if others:
            assert slot in others
        if any(one not in aside for one in others):
            assert slot not in aside
        slot.active += 1
        self.flying.append(slot)

    @precondition(lambda self: self.flying)
    @rule(at=st.integers(0, 99), cause=st.sampled_from([CONNECTING, REFUSED, UNANSWERED]))
    def outcome(self, at: int, cause: int) -> None:
        """A request ends, by whether its endpoint lives."""
        slot = self.flying.pop(at % len(self.flying))
        slot.active -= 1
        if slot.address in self.alive:
            slot.health.answered()
            assert slot.health.state == WELL
        elif not slot.retired:
            slot.health.failed(self.now, cause, "dead", PAUSE, 0.5)

    @precondition(lambda self: self.probes)
    @rule()
    def probed(self) -> None:
        """A connection comes about or fails."""
        slot = self.probes.pop(0)
        if slot.address in self.alive:
            back = slot.health.connected(self.now)
            assert slot.health.state == WELL or not back
        else:
            slot.health.failed(self.now, CONNECTING, "dead", PAUSE, 0.5)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 5.0, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(name=names)
    def flip(self, name: str) -> None:
        """An endpoint dies or rises."""
        self.alive ^= {name}

    @rule(addresses=st.sets(names), policy=st.sampled_from(POLICIES), weight=st.sampled_from([1, 3]))
    def push(self, addresses: set[str], policy: str, weight: int) -> None:
        """Other endpoints, another policy."""
        known = {one.address: (one, one.health.state, one.active) for one in self.cluster.slots}
        self.tables = compile_tables(config(*sorted(addresses), policy=policy, weight=weight), self.tables)
        for gone in self.tables.retired:
            gone.retire()
        for one in self.cluster.slots:
            if one.address in known:
                assert known[one.address] == (one, one.health.state, one.active)

    @rule()
    def recover(self) -> None:
        """Everybody lives and answers what is asked: after one back-off and its trial nobody is passed over any more."""
        self.alive = set("abcdef")
        while self.flying:
            self.outcome(0, CONNECTING)
        while self.probes:
            self.probed()
        self.now += PAUSE[1]
        for _ in range(4 * len(self.cluster.slots)):
            trial = self.cluster.due(self.now, PAUSE)
            if trial is not None and not trial.health.connected(self.now):
                trial.health.answered()
            slot = self.cluster.pick(None)
            slot.health.answered()
        assert self._aside() == []

    @invariant()
    def never_too_many(self) -> None:
        """At most half, none when all fail, and only who fails."""
        aside, slots = self._aside(), self.cluster.slots
        failing = [one for one in slots if one.health.state != WELL]
        assert len(aside) <= len(slots) // 2
        assert set(aside) <= set(failing)
        if len(failing) <= len(slots) // 2:
            assert set(aside) == set(failing)

    @invariant()
    def never_too_long(self) -> None:
        """Who is set aside or on trial is due within the longest back-off."""
        for one in self.cluster.slots:
            health = one.health
            assert health.state == WELL or health.until <= self.now + PAUSE[1]
            assert (health.state == WELL) == (health.rounds == 0)
            assert health.failures or health.state == WELL
            assert health.state != TRIAL or health.rounds

    @invariant()
    def never_adrift(self) -> None:
        """What is active is what is in flight."""
        for one in self.cluster.slots:
            assert one.active == self.flying.count(one)


TestEndpoints = within(120)(Endpointed.TestCase)
TestEndpoints.settings = bounded(60, 50)
