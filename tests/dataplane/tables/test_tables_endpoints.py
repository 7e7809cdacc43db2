"""Who is picked, and what outlives a push."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from dataplane.config import Cluster, Endpoint, Endpoints, SidecarConfig
from dataplane.tables.compile import compile_tables
from dataplane.tables.endpoints import ClusterTable
from dataplane.tables.health import CONNECTING


def config(*endpoints: Endpoint, cluster: Cluster | None = None) -> SidecarConfig:
    noun = cluster or Cluster(name="c", kind="eds", endpoints_name="c")
    return SidecarConfig(clusters={"c": noun}, endpoints={"c": Endpoints(name="c", endpoints=endpoints)})


def at(address: str, **more: object) -> Endpoint:
    return Endpoint(address=address, port=80, **more)


def picked(table: ClusterTable, count: int) -> list[str]:
    return [table.pick(None).address for _ in range(count)]


def test_equal_endpoints_take_turns() -> None:
    """Plain round robin, beginning where the seed says."""
    table = compile_tables(config(at("a"), at("b"), at("c")), seed=0).clusters["c"]

    assert picked(table, 6) == ["b", "c", "a", "b", "c", "a"]


def test_next_one_can_be_told() -> None:
    """The look ahead is what the pick does then; alone, or with weights, nobody is told."""
    table = compile_tables(config(at("a"), at("b"), at("c"))).clusters["c"]
    for _ in range(6):
        told = table.peek()
        assert told is table.pick(None)

    assert compile_tables(config(at("a"))).clusters["c"].peek() is None
    assert compile_tables(config(at("a", weight=2), at("b"))).clusters["c"].peek() is None


def test_weights_are_kept_smoothly() -> None:
    """Five, one, one: never five in a row."""
    table = compile_tables(config(at("a", weight=5), at("b"), at("c"))).clusters["c"]
    order = picked(table, 7)

    assert Counter(order) == {"a": 5, "b": 1, "c": 1}
    assert "aaaa" not in "".join(order)


def test_weights_of_many_are_kept_to_the_turn() -> None:
    """In as many turns as the weights come to, each has as many as its weight; whose health changes for a while does not change those of others."""
    weights = {f"10.0.{n // 256}.{n % 256}": 1 + n * n % 17 for n in range(1000)}
    table = compile_tables(config(*(at(one, weight=weight) for one, weight in weights.items())), seed=5).clusters["c"]

    assert Counter(picked(table, sum(weights.values()))) == weights
    ill = table.slots[3]
    ill.health.failed(0.0, CONNECTING, "it is down", (1.0, 1.0), 0.0)
    left = {one: weight for one, weight in weights.items() if one != ill.address}
    assert Counter(picked(table, sum(left.values()))) == left
    ill.health.answered()
    assert Counter(picked(table, sum(weights.values()))) == weights


def test_newcomer_with_a_weight_takes_its_share_and_no_more() -> None:
    """However long the others have taken turns before."""
    before = compile_tables(config(at("a", weight=2), at("b")))
    picked(before.clusters["c"], 3000)
    after = compile_tables(config(at("a", weight=2), at("b"), at("c")), before)

    assert Counter(picked(after.clusters["c"], 400)) == {"a": 200, "b": 100, "c": 100}


@pytest.mark.parametrize("weights", [(8, 8, 8, 4), (1, 2, 2), (1, 4, 4)])
@pytest.mark.parametrize("each", [1, 2, 10])
def test_pushes_in_between_leave_everybody_his_share(weights: tuple[int, ...], each: int) -> None:
    """Whoever is due at this very moment is due still when the order is made anew."""
    endpoints = [at(str(n), weight=weight) for n, weight in enumerate(weights)]
    tables = compile_tables(config(*endpoints))
    taken: Counter[str] = Counter()
    for n in range(1200):
        if n % each == 0:
            tables = compile_tables(config(*endpoints), tables)
            tables = compile_tables(config(*endpoints, at("other", priority=1)), tables)
        taken[tables.clusters["c"].pick(None).address] += 1
    for n, weight in enumerate(weights):
        assert taken[str(n)] == pytest.approx(1200 * weight / sum(weights), rel=0.15)


@pytest.mark.parametrize(
    ("old", "new"), [((1, 2), (100_000, 200_000)), ((1 << 31, 1 << 30), (1, 2)), ((1, 1000), (2, 1))]
)
def test_other_weights_hold_from_their_push_on(old: tuple[int, int], new: tuple[int, int]) -> None:
    """Turns were dealt by the old ones."""
    before = compile_tables(config(at("a", weight=old[0]), at("b", weight=old[1])))
    picked(before.clusters["c"], 50)
    after = compile_tables(config(at("a", weight=new[0]), at("b", weight=new[1])), before)

    assert Counter(picked(after.clusters["c"], 3000))["a"] == pytest.approx(3000 * new[0] / sum(new), abs=2)


def test_late_turns_are_as_exact_as_early_ones() -> None:
    """Small weights for long, then large ones: a turn is not lost beside the time gone by."""
    before = compile_tables(config(at("a"), at("b", weight=2)))
    for slot in before.clusters["c"].slots:
        slot.due += 1 << 24
    picked(before.clusters["c"], 3)
    after = compile_tables(config(at("a", weight=1 << 30), at("b", weight=1 << 31)), before)

    assert Counter(picked(after.clusters["c"], 3000)) == {"a": 1000, "b": 2000}


def test_retry_by_load_draws_who_has_little_in_hand() -> None:
    """Weights are shared by what is under way, out of turn as well."""
    cluster = Cluster(name="c", kind="eds", endpoints_name="c", policy="least_request")
    table = compile_tables(config(at("a"), at("b", weight=50), at("c", weight=50), cluster=cluster)).clusters["c"]
    a, b, _ = table.slots
    b.active = 999

    assert Counter(table.pick([a]).address for _ in range(1000))["b"] < 20


def test_retry_draws_another_by_its_weight() -> None:
    """Out of turn, and nobody's turn is another than before."""
    table = compile_tables(config(at("a"), at("b", weight=1 << 20), at("c", weight=3 << 20))).clusters["c"]
    a = table.slots[0]
    drawn = Counter(table.pick([a]).address for _ in range(4000))

    assert drawn["a"] == 0
    assert 0.2 < drawn["b"] / 4000 < 0.3


def test_least_request_takes_the_less_loaded_of_two() -> None:
    """The most loaded one of three is never taken, and the least loaded one most often."""
    cluster = Cluster(name="c", kind="eds", endpoints_name="c", policy="least_request")
    table = compile_tables(config(at("a"), at("b"), at("c"), cluster=cluster), seed=1).clusters["c"]
    for slot, active in zip(table.slots, (9, 3, 0), strict=True):
        slot.active = active
    taken = Counter(picked(table, 300))

    assert taken["a"] == 0
    assert taken["c"] > 1.5 * taken["b"] > 0
    assert table.peek() is None


def test_least_request_with_weights_shares_a_weight_by_its_load() -> None:
    """Idle, weights are kept as they are; three requests on the heavy one make it a light one."""
    cluster = Cluster(name="c", kind="eds", endpoints_name="c", policy="least_request")
    table = compile_tables(config(at("a", weight=4), at("b"), cluster=cluster)).clusters["c"]
    assert Counter(picked(table, 100)) == {"a": 80, "b": 20}
    table.slots[0].active = 3

    assert Counter(picked(table, 100)) == {"a": 50, "b": 50}


def test_random_takes_all_alike_and_not_in_turns() -> None:
    """The same seed draws the same lots; those excluded are never drawn."""
    cluster = Cluster(name="c", kind="eds", endpoints_name="c", policy="random")
    first, second = (compile_tables(config(at("a"), at("b"), at("c"), cluster=cluster), seed=7) for _ in range(2))
    order = picked(first.clusters["c"], 3000)
    a = first.clusters["c"].slots[0]

    assert order == picked(second.clusters["c"], 3000)
    assert all(900 < count < 1100 for count in Counter(order).values())
    assert any(one == other for one, other in itertools.pairwise(order))
    assert {first.clusters["c"].pick([a]).address for _ in range(50)} == {"b", "c"}


def test_best_priority_takes_everything() -> None:
    """Others wait until it has none."""
    assert set(picked(compile_tables(config(at("a"), at("b", priority=1))).clusters["c"], 4)) == {"a"}


def test_excluded_endpoints_are_passed_over_unless_all_are() -> None:
    """A retry goes elsewhere when there is an elsewhere."""
    for weight in (1, 2):
        table = compile_tables(config(at("a", weight=weight), at("b"))).clusters["c"]
        a = next(slot for slot in table.slots if slot.address == "a")

        assert [table.pick([a]).address for _ in range(3)] == ["b", "b", "b"]
        assert table.pick(list(table.slots)) is not None


def test_empty_cluster_picks_nobody() -> None:
    """There is nothing to divide by."""
    assert compile_tables(config()).clusters["c"].pick(None) is None


def test_slots_that_stay_are_kept_over_a_push() -> None:
    """Pools, counts and turns survive; what is gone is returned to be retired."""
    before = compile_tables(config(at("a"), at("b")))
    a, b = before.clusters["c"].slots
    a.active = 3
    after = compile_tables(config(at("a", weight=2), at("c")), before)

    assert after.clusters["c"].slots[0] is a
    assert (a.active, a.weight) == (3, 2)
    assert after.retired == (b,)


def test_endpoint_with_another_identity_is_another_endpoint() -> None:
    """Its connections belong to somebody else."""
    before = compile_tables(config(at("a", mesh=True, identity="spiffe://x")))
    after = compile_tables(config(at("a", mesh=True, identity="spiffe://y")), before)

    assert len(after.retired) == 1


def test_unchanged_nouns_are_taken_over_as_they_are() -> None:
    """A push of one cluster costs one cluster."""
    first = config(at("a"))
    before = compile_tables(first)
    after = compile_tables(SidecarConfig(clusters=dict(first.clusters), endpoints=dict(first.endpoints)), before)

    assert after.clusters["c"] is before.clusters["c"]
    assert after.retired == ()


def test_cluster_that_is_gone_retires_its_slots() -> None:
    """Learned ones too."""
    before = compile_tables(config(cluster=Cluster(name="c", kind="original_dst")))
    learned = before.clusters["c"].at("10.0.0.1", 80)
    after = compile_tables(SidecarConfig(), before)

    assert before.clusters["c"].at("10.0.0.1", 80) is learned
    assert after.retired == (learned,)
